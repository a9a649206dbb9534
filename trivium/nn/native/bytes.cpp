// Numbers as bytes and back, for products in int8: a row (or column) is divided by its largest value and rounded to [-127, 127].
#include <algorithm>
#include <vector>

#include "vector.h"

static inline vi to_whole(vf x, float unit) { return __builtin_convertvector((x * unit + 12582912.0f) - 12582912.0f, vi); }

extern "C" {

// (rows, n) -> bytes and a scale for each row
void trivium_bytes_of_rows(const float* x, int64_t rows, int32_t n, int8_t* to, float* scale) {
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    const float* from = x + row * n;
    vf most = {};
    for (int i = 0; i < n; i += LANES) {
      const vf v = load(from + i);
      most = maximum(most, maximum(v, -v));
    }
    const float peak = largest(most), unit = peak > 0 ? 127.0f / peak : 0.0f;
    for (int i = 0; i < n; i += LANES) *(vb_any*)(to + row * n + i) = __builtin_convertvector(to_whole(load(from + i), unit), vb);
    scale[row] = peak / 127.0f;
  }
}

// (rows, n) -> bytes of the transpose, (n, rows), and a scale for each of its rows
void trivium_bytes_of_columns(const float* x, int64_t rows, int32_t n, int8_t* to, float* scale) {
  constexpr int WIDE = 64, TALL = 64;
#pragma omp parallel for schedule(static)
  for (int first = 0; first < n; first += WIDE) {
    const int wide = std::min(WIDE, n - first);
    vf most[WIDE / LANES] = {};
    for (int64_t row = 0; row < rows; row++)
      for (int j = 0; j < wide / LANES; j++) {
        const vf v = load(x + row * n + first + j * LANES);
        most[j] = maximum(most[j], maximum(v, -v));
      }
    float unit[WIDE];
    for (int j = 0; j < wide; j++) {
      const float peak = most[j / LANES][j % LANES];
      unit[j] = peak > 0 ? 127.0f / peak : 0.0f;
      scale[first + j] = peak / 127.0f;
    }
    int8_t block[WIDE][TALL];
    for (int64_t row = 0; row < rows; row += TALL) {
      const int tall = (int)std::min<int64_t>(TALL, rows - row);
      for (int r = 0; r < tall; r++)
        for (int j = 0; j < wide; j += LANES) {
          const vi whole = __builtin_convertvector((load(x + (row + r) * n + first + j) * load(unit + j) + 12582912.0f) - 12582912.0f, vi);
          const vb bytes = __builtin_convertvector(whole, vb);
          for (int i = 0; i < LANES; i++) block[j + i][r] = (int8_t)bytes[i];
        }
      for (int j = 0; j < wide; j++) memcpy(to + (int64_t)(first + j) * rows + row, block[j], tall);
    }
  }
}

// Sums of products of bytes back to numbers: y = sums * of_row * of_column
void trivium_from_bytes(const int32_t* sums, int64_t rows, int32_t n, const float* of_row, const float* of_column, float* y) {
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++)
    for (int i = 0; i < n; i += LANES)
      store(y + row * n + i, __builtin_convertvector((vi) * (const vu_any*)(sums + row * n + i), vf) * load(of_column + i) * of_row[row]);
}
}
