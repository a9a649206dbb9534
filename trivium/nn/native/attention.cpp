// Causal attention over rows that may hold several sequences, forward and backward. A query at i sees the keys from start[i] to i,
// which says documents and windows at once; blocks that nobody sees are skipped. One task is one key head of one row of the batch.
#include <algorithm>
#include <vector>

#include "vector.h"

constexpr int QUERIES = 64;  // in a block: their scores against every key are held at once

constexpr int WIDE = REGISTERS == 32 ? 4 : 2;  // vectors beside each other: 6 rows of them stay in registers

// c (rows, C vectors) = or += sum over k of a(r, k) b(k, :)
template <int R, int C>
static inline void tile(float* c, int64_t ldc, const float* a, int64_t row_step, int64_t k_step, const float* b, int64_t ldb, int depth, bool add) {
  vf total[R][C] = {};
  for (int k = 0; k < depth; k++) {
    vf right[C];
#pragma GCC unroll 4
    for (int j = 0; j < C; j++) right[j] = load(b + k * ldb + j * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const float left = a[r * row_step + k * k_step];
#pragma GCC unroll 4
      for (int j = 0; j < C; j++) total[r][j] += right[j] * left;
    }
  }
  for (int r = 0; r < R; r++)
    for (int j = 0; j < C; j++) {
      float* to = c + r * ldc + j * LANES;
      store(to, add ? load(to) + total[r][j] : total[r][j]);
    }
}

template <int C>
static inline void columns(float* c, int64_t ldc, const float* a, int64_t row_step, int64_t k_step, const float* b, int64_t ldb, int rows, int depth, bool add) {
  int r = 0;
  for (; r + 6 <= rows; r += 6) tile<6, C>(c + r * ldc, ldc, a + r * row_step, row_step, k_step, b, ldb, depth, add);
  for (; r + 2 <= rows; r += 2) tile<2, C>(c + r * ldc, ldc, a + r * row_step, row_step, k_step, b, ldb, depth, add);
  for (; r < rows; r++) tile<1, C>(c + r * ldc, ldc, a + r * row_step, row_step, k_step, b, ldb, depth, add);
}

static void multiply(float* c, int64_t ldc, const float* a, int64_t row_step, int64_t k_step, const float* b, int64_t ldb, int rows, int cols, int depth, bool add) {
  int j = 0;
  for (; j + WIDE * LANES <= cols; j += WIDE * LANES) columns<WIDE>(c + j, ldc, a, row_step, k_step, b + j, ldb, rows, depth, add);
  for (; j + LANES <= cols; j += LANES) columns<1>(c + j, ldc, a, row_step, k_step, b + j, ldb, rows, depth, add);
}

struct Heads {
  const float *query, *key, *value;  // (B, H, L, D), (B, KV, L, D) twice
  const int32_t* start;              // (B, L)
  int32_t batch, heads, kv_heads, length, dim;
  float scale;
};

static void transpose(const float* from, int length, int dim, int padded, float* to) {
  for (int d = 0; d < dim; d++) {
    for (int i = 0; i < length; i++) to[(int64_t)d * padded + i] = from[(int64_t)i * dim + d];
    for (int i = length; i < padded; i++) to[(int64_t)d * padded + i] = 0;
  }
}

// A block of queries: which keys they see together, and their scores.
struct Block {
  int first, rows, from, to;  // queries [first, first + rows), keys [from, to), whole vectors
};

static Block block_at(const Heads& h, const int32_t* start, int first) {
  const int rows = std::min(QUERIES, h.length - first);
  const int least = *std::min_element(start + first, start + first + rows);
  return {first, rows, least / LANES * LANES, (first + rows + LANES - 1) / LANES * LANES};
}

// Scores of a block into probabilities: with lse null it is computed and written to lse_out.
static void probabilities(const Heads& h, const Block& b, const int32_t* start, float* scores, int64_t ld, const float* lse, float* lse_out) {
  for (int r = 0; r < b.rows; r++) {
    const int i = b.first + r, from = start[i];
    float* row = scores + r * ld;
    vf most = none();
    for (int j = b.from; j < b.to; j += LANES) {
      vf x = load(row + j) * h.scale;
      if (j < from || j + LANES - 1 > i) {
        const vi place = count_up() + j;
        x = (place < from) | (place > i) ? none() : x;
      }
      store(row + j, x);
      most = maximum(most, x);
    }
    float shift = lse ? lse[i] : largest(most);
    vf total = {};
    for (int j = b.from; j < b.to; j += LANES) {
      const vf e = exponential(load(row + j) - shift);
      store(row + j, e);
      total += e;
    }
    if (lse) continue;
    const float all_of_it = sum(total), share = 1.0f / all_of_it;
    lse_out[i] = shift + logf(all_of_it);
    for (int j = b.from; j < b.to; j += LANES) store(row + j, load(row + j) * share);
  }
}

extern "C" {

// mixed: (B, L, H, D). lse: (B, H, L).
void trivium_attend(const Heads* h, float* mixed, float* lse) {
  const int padded = (h->length + 63) / 64 * 64, share = h->heads / h->kv_heads;
  const int64_t size = (int64_t)h->length * h->dim, step = (int64_t)h->heads * h->dim;
#pragma omp parallel
  {
    std::vector<float> keys((int64_t)h->dim * padded), scores((int64_t)QUERIES * padded);
#pragma omp for schedule(dynamic)
    for (int task = 0; task < h->batch * h->kv_heads; task++) {
      const int row = task / h->kv_heads;
      const int32_t* start = h->start + (int64_t)row * h->length;
      const float* value = h->value + task * size;
      transpose(h->key + task * size, h->length, h->dim, padded, keys.data());
      for (int s = 0; s < share; s++) {
        const int64_t head = (int64_t)task * share + s;
        const float* query = h->query + head * size;
        float* out = mixed + (int64_t)row * h->length * step + head % h->heads * h->dim;
        for (int first = 0; first < h->length; first += QUERIES) {
          const Block b = block_at(*h, start, first);
          float* at = scores.data();
          multiply(at + b.from, padded, query + (int64_t)first * h->dim, h->dim, 1, keys.data() + b.from, padded, b.rows, b.to - b.from, h->dim, false);
          probabilities(*h, b, start, at, padded, nullptr, lse + head * h->length);
          multiply(out + first * step, step, at + b.from, padded, 1, value + (int64_t)b.from * h->dim, h->dim, b.rows, h->dim, std::min(b.to, h->length) - b.from, false);
        }
      }
    }
  }
}

// Slopes by query, key and value from those by mixed; shapes as above.
void trivium_attend_backward(const Heads* h, const float* mixed, const float* lse, const float* slope, float* by_query, float* by_key, float* by_value) {
  const int padded = (h->length + 63) / 64 * 64, share = h->heads / h->kv_heads;
  const int64_t size = (int64_t)h->length * h->dim, step = (int64_t)h->heads * h->dim;
#pragma omp parallel
  {
    std::vector<float> keys((int64_t)h->dim * padded), values(keys.size()), weights((int64_t)QUERIES * padded), slopes(weights.size());
#pragma omp for schedule(dynamic)
    for (int task = 0; task < h->batch * h->kv_heads; task++) {
      const int row = task / h->kv_heads;
      const int32_t* start = h->start + (int64_t)row * h->length;
      const float* key = h->key + task * size;
      float *to_key = by_key + task * size, *to_value = by_value + task * size;
      transpose(key, h->length, h->dim, padded, keys.data());
      transpose(h->value + task * size, h->length, h->dim, padded, values.data());
      std::fill(to_key, to_key + size, 0.0f);
      std::fill(to_value, to_value + size, 0.0f);
      for (int s = 0; s < share; s++) {
        const int64_t head = (int64_t)task * share + s, offset = (int64_t)row * h->length * step + head % h->heads * h->dim;
        for (int first = 0; first < h->length; first += QUERIES) {
          const Block b = block_at(*h, start, first);
          const int cols = b.to - b.from, depth = std::min(b.to, h->length) - b.from;
          const float *query = h->query + head * size + (int64_t)first * h->dim, *out = slope + offset + first * step;
          float *p = weights.data(), *ds = slopes.data();
          multiply(p + b.from, padded, query, h->dim, 1, keys.data() + b.from, padded, b.rows, cols, h->dim, false);
          probabilities(*h, b, start, p, padded, lse + head * h->length, nullptr);
          multiply(ds + b.from, padded, out, step, 1, values.data() + b.from, padded, b.rows, cols, h->dim, false);
          for (int r = 0; r < b.rows; r++) {
            vf product = {};
            for (int d = 0; d < h->dim; d += LANES) product += load(out + r * step + d) * load(mixed + offset + (first + r) * step + d);
            const float mean = sum(product);
            for (int j = b.from; j < b.to; j += LANES) {
              float* at = ds + r * (int64_t)padded + j;
              store(at, load(p + r * (int64_t)padded + j) * (load(at) - mean) * h->scale);
            }
          }
          multiply(to_value + (int64_t)b.from * h->dim, h->dim, p + b.from, 1, padded, out, step, depth, h->dim, b.rows, true);
          multiply(by_query + head * size + (int64_t)first * h->dim, h->dim, ds + b.from, padded, 1, key + (int64_t)b.from * h->dim, h->dim, b.rows, h->dim, depth, false);
          multiply(to_key + (int64_t)b.from * h->dim, h->dim, ds + b.from, 1, padded, query, h->dim, depth, h->dim, b.rows, true);
        }
      }
    }
  }
}
}
