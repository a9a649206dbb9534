// As many lanes as a register of the processor has, in GCC/Clang vector extensions: one source for AVX-512, AVX2 and NEON.
// Wider vectors than registers compile too, but go through memory: on AVX2 that was a hundred times slower (LOG.md).
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 16;
#else
constexpr int LANES = 4, REGISTERS = 32;
#endif
typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef float vf_any __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t vu_any __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t vh __attribute__((vector_size(2 * LANES)));
typedef uint16_t vh_any __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint8_t vb __attribute__((vector_size(LANES)));
typedef uint8_t vb_any __attribute__((vector_size(LANES), aligned(1), may_alias));

static inline vf load(const float* p) { return *(const vf_any*)p; }
static inline void store(float* p, vf x) { *(vf_any*)p = x; }
static inline vf all(float x) { return x - (vf){}; }
static inline vf none() { return all(-INFINITY); }
static inline vi count_up() {
  vi count;
  for (int i = 0; i < LANES; i++) count[i] = i;
  return count;
}
static inline vf maximum(vf a, vf b) { return a > b ? a : b; }
static inline vf positive(vf x) { return x < 0 ? (vf){} : x; }  // not-a-number stays

// bfloat16 is the upper half of a float; stored rounded to the nearest, ties to even
static inline vf load(const uint16_t* p) { return (vf)(__builtin_convertvector(*(const vh_any*)p, vu) << 16); }
static inline uint16_t rounded(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
static inline void store(uint16_t* p, vf x) {
  const vu bits = (vu)x, near = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  *(vh_any*)p = __builtin_convertvector(x == x ? near : (vu){} + 0x7fc0, vh);  // not-a-number stays
}
static inline void put(float* p, float x) { *p = x; }
static inline void put(uint16_t* p, float x) { *p = rounded(x); }

// Lanes are added in a fixed tree, so a sum never depends on what else is computed.
static inline float sum(vf x) {
  float lane[LANES];
  memcpy(lane, &x, sizeof x);
  for (int width = LANES / 2; width; width /= 2)
    for (int i = 0; i < width; i++) lane[i] += lane[i + width];
  return lane[0];
}
static inline float largest(vf x) {
  float lane[LANES];
  memcpy(lane, &x, sizeof x);
  float best = lane[0];
  for (int i = 1; i < LANES; i++) best = lane[i] > best ? lane[i] : best;
  return best;
}

// The largest magnitude so far; not-a-number stays, where a maximum alone would pass over it.
static inline vf magnitude(vf most, vf x) {
  const vf size = x < 0 ? -x : x;
  return (size > most) | (size != size) ? size : most;
}
static inline float largest_magnitude(vf most) { return sum(most) != sum(most) ? NAN : largest(most); }

// e^x to 1e-7 relative: 2^n times a polynomial of degree 6 on [-ln2/2, ln2/2]; below -87 it is 0.
static inline vf exponential(vf x) {
  x = x > 88.0f ? all(88.0f) : x;
  const vf scaled = x * 1.44269504088896341f;
  const vf whole = (scaled + 12582912.0f) - 12582912.0f;
  const vf r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  vf p = all(1.3981999507e-3f);
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const vi power = (__builtin_convertvector(whole, vi) + 127) << 23;
  return x < -87.0f ? (vf){} : p * (vf)power;
}
static inline vf hyperbolic_tangent(vf x) { return 1.0f - 2.0f / (exponential(x + x) + 1.0f); }
static inline vf error_function(vf x) {
  for (int i = 0; i < LANES; i++) x[i] = erff(x[i]);
  return x;
}

enum Activation { SILU = 0, GELU = 1, GELU_TANH = 2, SQUARED_RELU = 3 };
static inline vf activate(vf x, int kind) {
  if (kind == SILU) return x / (1.0f + exponential(-x));
  if (kind == GELU_TANH) return 0.5f * x * (1.0f + hyperbolic_tangent(0.7978845608028654f * (x + 0.044715f * x * x * x)));
  if (kind == SQUARED_RELU) return positive(x) * positive(x);
  return 0.5f * x * (1.0f + error_function(x * 0.7071067811865476f));
}
