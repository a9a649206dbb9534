// Causal attention over rows that may hold several sequences, forward and backward. A query at i sees the keys from start[i] to i
// but for those from skip_from[i] to before skip_to[i]: documents, windows, and answers that share a prompt. Blocks that nobody sees are
// skipped. One task is one key head of one span.
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
  const float *query, *key, *value;                  // (B, H, L, D), (B, KV, L, D) twice
  const int32_t *start, *skip_from, *skip_to;        // (B, L)
  int32_t batch, heads, kv_heads, length, dim;
  float scale;
};

// Neighbours in a row that see nobody else, and whom nobody else sees: whole sequences. Places of a span count from its beginning.
struct Span {
  const int32_t *start, *skip_from, *skip_to;
  int row, begin, length;
};

static std::vector<Span> spans_of(const Heads& h) {
  std::vector<Span> found;
  for (int row = 0; row < h.batch; row++) {
    const int64_t at = (int64_t)row * h.length;
    for (int i = 1, begin = 0; i <= h.length; i++)
      if (i == h.length || (h.start[at + i] == i && i - begin >= QUERIES)) {
        found.push_back({h.start + at + begin, h.skip_from + at + begin, h.skip_to + at + begin, row, begin, i - begin});
        begin = i;
      }
  }
  return found;
}

static int padded_length(const std::vector<Span>& spans) {
  int most = 0;
  for (const Span& span : spans) most = std::max(most, span.length);
  return (most + 63) / 64 * 64;
}

static void transpose(const float* from, int length, int dim, int padded, float* to) {
  for (int d = 0; d < dim; d++) {
    for (int i = 0; i < length; i++) to[(int64_t)d * padded + i] = from[(int64_t)i * dim + d];
    for (int i = length; i < padded; i++) to[(int64_t)d * padded + i] = 0;
  }
}

struct Keys {
  int from, to;  // [from, to), whole vectors
};

// A block of queries, and the keys that they see together: two stretches, the second one empty where nothing is skipped by all.
struct Block {
  int first, rows;  // queries [first, first + rows)
  Keys part[2];
};

static Block block_at(const Span& s, int first) {
  const int rows = std::min(QUERIES, s.length - first), to = (first + rows + LANES - 1) / LANES * LANES;
  const int least = *std::min_element(s.start + first, s.start + first + rows) - s.begin;
  const int gap = *std::max_element(s.skip_from + first, s.skip_from + first + rows) - s.begin;
  const int end = *std::min_element(s.skip_to + first, s.skip_to + first + rows) - s.begin;
  const int from = least / LANES * LANES, stop = (gap + LANES - 1) / LANES * LANES, resume = end / LANES * LANES;
  if (stop <= from || resume <= stop) return {first, rows, {{from, to}, {to, to}}};
  return {first, rows, {{from, stop}, {resume, to}}};
}

// Scores of a block into probabilities: with lse null it is computed and written to lse_out.
static void probabilities(const Heads& h, const Span& s, const Block& b, float* scores, int64_t ld, const float* lse, float* lse_out) {
  for (int r = 0; r < b.rows; r++) {
    const int i = b.first + r, from = s.start[i] - s.begin, gap = s.skip_from[i] - s.begin, end = s.skip_to[i] - s.begin;
    float* row = scores + r * ld;
    vf most = none();
    for (const Keys& keys : b.part)
      for (int j = keys.from; j < keys.to; j += LANES) {
        vf x = load(row + j) * h.scale;
        if (j < from || j + LANES - 1 > i || (j < end && j + LANES > gap)) {
          const vi place = count_up() + j;
          x = (place < from) | (place > i) | ((place >= gap) & (place < end)) ? none() : x;
        }
        store(row + j, x);
        most = maximum(most, x);
      }
    float shift = lse ? lse[i] : largest(most);
    vf total = {};
    for (const Keys& keys : b.part)
      for (int j = keys.from; j < keys.to; j += LANES) {
        const vf e = exponential(load(row + j) - shift);
        store(row + j, e);
        total += e;
      }
    if (lse) continue;
    const float all_of_it = sum(total), share = 1.0f / all_of_it;
    lse_out[i] = shift + logf(all_of_it);
    for (const Keys& keys : b.part)
      for (int j = keys.from; j < keys.to; j += LANES) store(row + j, load(row + j) * share);
  }
}

extern "C" {

// mixed: (B, L, H, D). lse: (B, H, L).
void trivium_attend(const Heads* h, float* mixed, float* lse) {
  const std::vector<Span> spans = spans_of(*h);
  const int padded = padded_length(spans), share = h->heads / h->kv_heads;
  const int64_t size = (int64_t)h->length * h->dim, step = (int64_t)h->heads * h->dim;
#pragma omp parallel
  {
    std::vector<float> keys((int64_t)h->dim * padded), scores((int64_t)QUERIES * padded);
#pragma omp for schedule(dynamic)
    for (int task = 0; task < (int)spans.size() * h->kv_heads; task++) {
      const Span& span = spans[task / h->kv_heads];
      const int64_t kv_head = (int64_t)span.row * h->kv_heads + task % h->kv_heads, offset = (int64_t)span.begin * h->dim;
      const float* value = h->value + kv_head * size + offset;
      transpose(h->key + kv_head * size + offset, span.length, h->dim, padded, keys.data());
      for (int s = 0; s < share; s++) {
        const int64_t head = kv_head * share + s;
        const float* query = h->query + head * size + offset;
        float* out = mixed + ((int64_t)span.row * h->length + span.begin) * step + head % h->heads * h->dim;
        for (int first = 0; first < span.length; first += QUERIES) {
          const Block b = block_at(span, first);
          float* at = scores.data();
          for (const Keys& part : b.part)
            multiply(at + part.from, padded, query + (int64_t)first * h->dim, h->dim, 1, keys.data() + part.from, padded, b.rows, part.to - part.from, h->dim, false);
          probabilities(*h, span, b, at, padded, nullptr, lse + head * h->length + span.begin);
          for (const Keys& part : b.part) {
            const int depth = std::min(part.to, span.length) - part.from;
            if (depth > 0) multiply(out + first * step, step, at + part.from, padded, 1, value + (int64_t)part.from * h->dim, h->dim, b.rows, h->dim, depth, &part != b.part);
          }
        }
      }
    }
  }
}

// Slopes by query, key and value from those by mixed; shapes as above.
void trivium_attend_backward(const Heads* h, const float* mixed, const float* lse, const float* slope, float* by_query, float* by_key, float* by_value) {
  const std::vector<Span> spans = spans_of(*h);
  const int padded = padded_length(spans), share = h->heads / h->kv_heads;
  const int64_t size = (int64_t)h->length * h->dim, step = (int64_t)h->heads * h->dim;
#pragma omp parallel
  {
    std::vector<float> keys((int64_t)h->dim * padded), values(keys.size()), weights((int64_t)QUERIES * padded), slopes(weights.size());
#pragma omp for schedule(dynamic)
    for (int task = 0; task < (int)spans.size() * h->kv_heads; task++) {
      const Span& span = spans[task / h->kv_heads];
      const int64_t kv_head = (int64_t)span.row * h->kv_heads + task % h->kv_heads, begin = (int64_t)span.begin * h->dim;
      const float* key = h->key + kv_head * size + begin;
      float *to_key = by_key + kv_head * size + begin, *to_value = by_value + kv_head * size + begin;
      transpose(key, span.length, h->dim, padded, keys.data());
      transpose(h->value + kv_head * size + begin, span.length, h->dim, padded, values.data());
      std::fill(to_key, to_key + (int64_t)span.length * h->dim, 0.0f);
      std::fill(to_value, to_value + (int64_t)span.length * h->dim, 0.0f);
      for (int s = 0; s < share; s++) {
        const int64_t head = kv_head * share + s, offset = ((int64_t)span.row * h->length + span.begin) * step + head % h->heads * h->dim;
        for (int first = 0; first < span.length; first += QUERIES) {
          const Block b = block_at(span, first);
          const float *query = h->query + head * size + begin + (int64_t)first * h->dim, *out = slope + offset + first * step;
          float *p = weights.data(), *ds = slopes.data(), *to_query = by_query + head * size + begin + (int64_t)first * h->dim;
          for (const Keys& part : b.part)
            multiply(p + part.from, padded, query, h->dim, 1, keys.data() + part.from, padded, b.rows, part.to - part.from, h->dim, false);
          probabilities(*h, span, b, p, padded, lse + head * h->length + span.begin, nullptr);
          for (const Keys& part : b.part)
            multiply(ds + part.from, padded, out, step, 1, values.data() + part.from, padded, b.rows, part.to - part.from, h->dim, false);
          for (int r = 0; r < b.rows; r++) {
            vf product = {};
            for (int d = 0; d < h->dim; d += LANES) product += load(out + r * step + d) * load(mixed + offset + (first + r) * step + d);
            const float mean = sum(product);
            for (const Keys& part : b.part)
              for (int j = part.from; j < part.to; j += LANES) {
                float* at = ds + r * (int64_t)padded + j;
                store(at, load(p + r * (int64_t)padded + j) * (load(at) - mean) * h->scale);
              }
          }
          for (const Keys& part : b.part) {
            const int depth = std::min(part.to, span.length) - part.from;
            if (depth <= 0) continue;
            multiply(to_value + (int64_t)part.from * h->dim, h->dim, p + part.from, 1, padded, out, step, depth, h->dim, b.rows, true);
            multiply(to_query, h->dim, ds + part.from, padded, 1, key + (int64_t)part.from * h->dim, h->dim, b.rows, h->dim, depth, &part != b.part);
            multiply(to_key + (int64_t)part.from * h->dim, h->dim, ds + part.from, 1, padded, query, h->dim, depth, h->dim, b.rows, true);
          }
        }
      }
    }
  }
}
}
