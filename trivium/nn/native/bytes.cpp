// Numbers as bytes and back, for products in int8: a row (or column) is divided by its largest value and rounded to [-127, 127].
#include <algorithm>
#include <vector>

#include "vector.h"

static inline vi to_whole(vf x, float unit) { return __builtin_convertvector((x * unit + 12582912.0f) - 12582912.0f, vi); }

constexpr int SIDE = 16;
typedef uint8_t Line __attribute__((vector_size(SIDE)));

// Sixteen rows of sixteen bytes become columns: four times the rows i and i + 8 are interleaved.
static inline void transpose(Line rows[SIDE]) {
  for (int round = 0; round < 4; round++) {
    Line mixed[SIDE];
    for (int i = 0; i < 8; i++) {
      mixed[2 * i] = __builtin_shufflevector(rows[i], rows[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      mixed[2 * i + 1] = __builtin_shufflevector(rows[i], rows[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    memcpy(rows, mixed, sizeof mixed);
  }
}

extern "C" {

// (rows, n) -> bytes and a scale for each row
void trivium_bytes_of_rows(const float* x, int64_t rows, int32_t n, int8_t* to, float* scale) {
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    const float* from = x + row * n;
    vf most = {};
    for (int i = 0; i < n; i += LANES) most = magnitude(most, load(from + i));
    const float peak = largest_magnitude(most), unit = peak > 0 ? 127.0f / peak : 0.0f;
    for (int i = 0; i < n; i += LANES) *(vb_any*)(to + row * n + i) = __builtin_convertvector(to_whole(load(from + i), unit), vb);
    scale[row] = peak / 127.0f;
  }
}

// (rows, n) -> bytes of the transpose, (n, rows), and a scale for each of its rows
void trivium_bytes_of_columns(const float* x, int64_t rows, int32_t n, int32_t threads, int8_t* to, float* scale) {
  std::vector<float> peaks((int64_t)n * threads), unit(n);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int t = 0; t < threads; t++)
    for (int64_t row = rows * t / threads; row < rows * (t + 1) / threads; row++)
      for (int i = 0; i < n; i += LANES) {
        float* most = peaks.data() + (int64_t)t * n + i;
        store(most, magnitude(load(most), load(x + row * n + i)));
      }
  for (int i = 0; i < n; i++) {
    float peak = 0;
    for (int t = 0; t < threads; t++) {
      const float here = peaks[(int64_t)t * n + i];
      if (!(here <= peak)) peak = here;  // not-a-number too, and it stays
      if (peak != peak) break;
    }
    unit[i] = peak > 0 ? 127.0f / peak : 0.0f;
    scale[i] = peak / 127.0f;
  }
  constexpr int TALL = 64;  // rows at a time: a whole line of memory of each column
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row += TALL) {
    const int tall = (int)std::min<int64_t>(TALL, rows - row);
    for (int first = 0; first < n; first += SIDE) {
      uint8_t columns[SIDE][TALL];
      for (int part = 0; part < tall; part += SIDE) {
        Line block[SIDE] = {};
        for (int r = 0; r < std::min(SIDE, tall - part); r++)
          for (int i = 0; i < SIDE; i += LANES) {
            const vf v = load(x + (row + part + r) * n + first + i) * load(unit.data() + first + i);
            *(vb_any*)((uint8_t*)&block[r] + i) = __builtin_convertvector(to_whole(v, 1.0f), vb);
          }
        transpose(block);
        for (int j = 0; j < SIDE; j++) memcpy(columns[j] + part, &block[j], SIDE);
      }
      for (int j = 0; j < SIDE; j++) memcpy(to + (int64_t)(first + j) * rows + row, columns[j], tall);
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
