// y = x W^T for few rows: weights are packed so that one pass over them serves every row, and are read once a step.
//
// A panel is two vectors of outputs, P numbers: float [k][P], bfloat16 [k/2][P][2], int8 [k/4][P][4]. Each output is summed over k in one fixed order,
// whatever the number of rows, so a row's result does not depend on its neighbours. int8: rows of x are quantised on the fly
// (largest value = 127) and summed exactly; the result is scale_x * scale_w * sum.
#pragma once
#include "vector.h"

constexpr int PANEL = 2 * LANES;
constexpr int MOST_ROWS = REGISTERS == 32 ? 12 : 6;  // whose sums, two vectors each, stay in registers
enum Precision { FLOAT32 = 0, BFLOAT16 = 1, INT8 = 2 };

struct Linear {
  const void* weight;   // panels
  const float* scale;   // int8: of each output
  const int32_t* offset;  // int8: 128 times the sum of each output's weights, because x is stored as x + 128
  const float* bias;    // may be null; padded to whole panels
  int32_t outputs, inputs;  // outputs: whole panels; inputs: a multiple of 4
};

struct Rows {
  const float* x;
  const uint8_t* quantised;
  const float* scale;
  int64_t stride;  // in numbers, of both
};

static inline float quantise_row(const float* x, uint8_t* to, int n) {
  vf most = {};
  for (int i = 0; i < n; i += LANES) most = magnitude(most, load(x + i));
  const float peak = largest_magnitude(most), unit = peak > 0 ? 127.0f / peak : 0.0f;
  for (int i = 0; i < n; i += LANES) {
    const vi whole = __builtin_convertvector((load(x + i) * unit + 12582912.0f) - 12582912.0f, vi) + 128;
    *(vb_any*)(to + i) = __builtin_convertvector(whole, vb);
  }
  return peak / 127.0f;
}

#if defined(__AVX512VNNI__)
static inline vi dot4(vi sum, int32_t x, vi w) { return (vi)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(x), (__m512i)w); }
constexpr bool FAST_INT8 = true;
#elif defined(__AVXVNNI__) && !defined(__AVX512F__)
static inline vi dot4(vi sum, int32_t x, vi w) { return (vi)_mm256_dpbusd_avx_epi32((__m256i)sum, _mm256_set1_epi32(x), (__m256i)w); }
constexpr bool FAST_INT8 = true;
#elif defined(__AVX2__) && !defined(__AVX512F__)
// In 16 bits, bytes 0 and 2 and bytes 1 and 3: products of pairs of bytes alone would not fit.
static inline vi dot4(vi sum, int32_t x, vi w) {
  const __m256i b = _mm256_set1_epi32(x), v = (__m256i)w;
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(b, _mm256_set1_epi16(255)), _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(b, 8), _mm256_srai_epi16(v, 8));
  return sum + (vi)even + (vi)odd;
}
constexpr bool FAST_INT8 = false;
#else
static inline vi dot4(vi sum, int32_t x, vi w) {
  for (int j = 0; j < 4; j++) sum += ((w << (24 - 8 * j)) >> 24) * (int32_t)((uint32_t)x >> 8 * j & 255);
  return sum;
}
constexpr bool FAST_INT8 = false;
#endif

// Weights are read in order, once: ask for what comes 4 KiB later, which the processor does not do across pages.
static inline void ahead(const void* w) {
  for (int i = 0; i < PANEL * 4; i += 64) __builtin_prefetch((const char*)w + 4096 + i);
}

// R rows times P panels: few rows take several panels at once, or the additions would wait for each other.
template <int R, int P>
static inline void panels_float32(const Rows& rows, int m, const Linear& l, int panel, vf (*out)[R][2]) {
  const float* x = rows.x + m * rows.stride;
  const int64_t size = (int64_t)l.inputs * PANEL;
  const float* w = (const float*)l.weight + panel * size;
  vf total[P][R][2] = {};
  for (int k = 0; k < l.inputs; k++)
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
      ahead(w + p * size + k * PANEL);
      const vf a = load(w + p * size + k * PANEL), b = load(w + p * size + k * PANEL + LANES);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        const float value = x[r * rows.stride + k];
        total[p][r][0] += a * value;
        total[p][r][1] += b * value;
      }
    }
  memcpy(out, total, sizeof total);
}

template <int R, int P>
static inline void panels_bfloat16(const Rows& rows, int m, const Linear& l, int panel, vf (*out)[R][2]) {
  const float* x = rows.x + m * rows.stride;
  const int64_t size = (int64_t)(l.inputs / 2) * PANEL;
  const uint32_t* w = (const uint32_t*)l.weight + panel * size;
  vf total[P][R][2] = {};
  for (int k = 0; k < l.inputs / 2; k++)
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
      ahead(w + p * size + k * PANEL);
      const vu pair[2] = {*(const vu_any*)(w + p * size + k * PANEL), *(const vu_any*)(w + p * size + k * PANEL + LANES)};
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        const vf a = (vf)(half ? pair[0] & 0xffff0000u : pair[0] << 16), b = (vf)(half ? pair[1] & 0xffff0000u : pair[1] << 16);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
          const float value = x[r * rows.stride + 2 * k + half];
          total[p][r][0] += a * value;
          total[p][r][1] += b * value;
        }
      }
    }
  memcpy(out, total, sizeof total);
}

template <int R, int P>
static inline void panels_int8(const Rows& rows, int m, const Linear& l, int panel, vf (*out)[R][2]) {
  const uint8_t* x = rows.quantised + m * rows.stride;
  const int64_t size = (int64_t)(l.inputs / 4) * PANEL;
  const uint32_t* w = (const uint32_t*)l.weight + panel * size;
  vi total[P][R][2] = {};
  for (int k = 0; k < l.inputs / 4; k++)
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
      ahead(w + p * size + k * PANEL);
      const vi a = (vi) * (const vu_any*)(w + p * size + k * PANEL), b = (vi) * (const vu_any*)(w + p * size + k * PANEL + LANES);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        int32_t four;
        memcpy(&four, x + r * rows.stride + 4 * k, 4);
        total[p][r][0] = dot4(total[p][r][0], four, a);
        total[p][r][1] = dot4(total[p][r][1], four, b);
      }
    }
  for (int p = 0; p < P; p++)
    for (int half = 0; half < 2; half++) {
      const int n = (panel + p) * PANEL + half * LANES;
      const vi offset = (vi) * (const vu_any*)(l.offset + n);
      const vf scale = load(l.scale + n);
      for (int r = 0; r < R; r++) out[p][r][half] = __builtin_convertvector(total[p][r][half] - offset, vf) * scale * rows.scale[m + r];
    }
}

// Hands every (row, first output, the two vectors of results) of P panels to `use`.
template <int R, int P, class Use>
static inline void tile(int precision, const Rows& rows, int m, const Linear& l, int panel, Use use) {
  vf out[P][R][2];
  if (precision == FLOAT32) panels_float32<R, P>(rows, m, l, panel, out);
  else if (precision == BFLOAT16) panels_bfloat16<R, P>(rows, m, l, panel, out);
  else panels_int8<R, P>(rows, m, l, panel, out);
  for (int p = 0; p < P; p++) {
    const int n = (panel + p) * PANEL;
    const vf bias[2] = {l.bias ? load(l.bias + n) : (vf){}, l.bias ? load(l.bias + n + LANES) : (vf){}};
    for (int r = 0; r < R; r++) use(m + r, n, out[p][r][0] + bias[0], out[p][r][1] + bias[1]);
  }
}

// Rows from m on that are left over, R at a time.
template <int R, class Use>
static inline int tiles(int precision, const Rows& rows, int m, int count, const Linear& l, int panel, int num_panels, Use use) {
  constexpr int P = R >= 4 ? 1 : R == 2 ? 2 : 4;
  for (; m + R <= count; m += R) {
    int p = 0;
    for (; p + P <= num_panels; p += P) tile<R, P>(precision, rows, m, l, panel + p, use);
    for (; p < num_panels; p++) tile<R, 1>(precision, rows, m, l, panel + p, use);
  }
  return m;
}

// This thread's share of the panels, four at a time: they stay in its cache while all rows pass.
template <class Use>
static inline void product(int precision, const Rows& rows, int count, const Linear& l, int thread, int threads, Use use) {
  const int panels = l.outputs / PANEL, last = (int)((int64_t)panels * (thread + 1) / threads);
  for (int panel = (int)((int64_t)panels * thread / threads); panel < last; panel += 4) {
    const int num_panels = last - panel < 4 ? last - panel : 4;
    int m = tiles<MOST_ROWS>(precision, rows, 0, count, l, panel, num_panels, use);
    if (MOST_ROWS > 8) m = tiles<8>(precision, rows, m, count, l, panel, num_panels, use);
    m = tiles<4>(precision, rows, m, count, l, panel, num_panels, use);
    m = tiles<2>(precision, rows, m, count, l, panel, num_panels, use);
    tiles<1>(precision, rows, m, count, l, panel, num_panels, use);
  }
}
