// One step of a decoder-only transformer for a handful of tokens, each of some row at some position: prompts in pieces and
// single new tokens alike. Keys and values of all of them are written before any of them looks back.
//
// The whole step is one call: threads split rows, heads and panels of outputs, and meet at a barrier between the parts of a layer.
#ifdef _OPENMP
#include <omp.h>
#endif

#include "barrier.h"
#include "product.h"

struct Layer {
  Linear qkv, out, up, down;  // up: a vector of outputs of the gate, then one of up, and so on, if gated
  const float *attention_norm, *attention_norm_bias, *mlp_norm, *mlp_norm_bias;  // before; null: none
  const float *attention_post_norm, *mlp_post_norm;                             // after, before the sum; null: none
  const float *query_norm, *key_norm;
  const float *cosine, *sine;  // (positions, rotated / 2)
  void *keys, *values;         // (rows, kv_heads, head_dim, capacity), (rows, kv_heads, capacity, head_dim)
  int32_t rotated, window;     // window 0: all positions
  int32_t added;               // which part of Tokens::added its values get; -1: none
  float stream_scale, embed_scale;  // it reads the stream times the one, and the embedding times the other (0: none)
};

struct Model {
  const Layer* layers;
  Linear head;
  const float *final_norm, *final_norm_bias;
  int32_t num_layers, width, heads, kv_heads, head_dim, inner, vocab, capacity;
  int32_t precision, half_cache, centred_norm, activation, gated, parallel, whole_qk_norm;
  int32_t most_tokens;  // of one step: the room is laid out for it, so that padding stays zero
  float eps, query_scale, attention_cap, final_cap;
};

struct Tokens {
  const float* x;      // (count, width), what the embedding gave
  const float* added;  // (parts, count, kv_heads * head_dim), to the values of some layers
  const int32_t *row, *position;
  int32_t count;
  const int32_t* wanted;  // which tokens need logits
  int32_t num_wanted;
  float* logits;  // (num_wanted, vocab)
};

static inline int64_t padded(int64_t n) { return (n + 63) / 64 * 64; }

// What the parts of a step hand to each other; rows are padded to 64 numbers with zeros.
struct Room {
  float *stream, *normed, *other, *heads, *mixed, *inner, *scale, *scores;
  uint8_t* quantised;
};

static int64_t lay_out(const Model& m, int threads, float* at, Room* room) {
  const int64_t count = m.most_tokens;
  const int64_t width = padded(m.width), heads = padded((m.heads + 2 * m.kv_heads) * (int64_t)m.head_dim);
  const int64_t mixed = padded((int64_t)m.heads * m.head_dim), inner = padded(m.inner);
  int64_t widest = width > mixed ? width : mixed;
  widest = widest > inner ? widest : inner;
  float* start = at;
  auto take = [&](int64_t numbers) { float* here = at; at += padded(numbers); return here; };
  room->stream = take(count * width), room->normed = take(count * width), room->other = take(count * width);
  room->heads = take(count * heads), room->mixed = take(count * mixed), room->inner = take(count * inner), room->scale = take(count);
  room->scores = take(threads * padded(m.capacity));
  room->quantised = (uint8_t*)take((count * widest + 3) / 4);
  return at - start;
}

static void norm(const float* x, const float* weight, const float* bias, bool centred, float eps, int n, float* to) {
  vf total = {}, squares = {};
  float mean = 0;
  if (centred) {
    for (int i = 0; i < n; i += LANES) total += load(x + i);
    mean = sum(total) / n;
  }
  for (int i = 0; i < n; i += LANES) {
    const vf d = load(x + i) - mean;
    squares += d * d;
  }
  const float factor = 1.0f / sqrtf(sum(squares) / n + eps);
  for (int i = 0; i < n; i += LANES) {
    const vf y = (load(x + i) - mean) * factor * load(weight + i);
    store(to + i, bias ? y + load(bias + i) : y);
  }
}

static void rotate(float* x, const float* cosine, const float* sine, int half) {
  for (int i = 0; i < half; i++) {
    const float a = x[i], b = x[i + half];
    x[i] = a * cosine[i] - b * sine[i];
    x[i + half] = b * cosine[i] + a * sine[i];
  }
}

// softmax(q K^T) V of one head of one token over positions [from, to], by blocks of 64 positions and 64 dimensions.
template <class Stored>
static void attend(const Model& m, const float* query, const Stored* keys, const Stored* values, int from, int to, float* scores, float* mixed) {
  constexpr int PARTS = 64 / LANES;
  const int first = from / 64 * 64, dim = m.head_dim;
  vf most = none();
  for (int start = first; start <= to; start += 64) {
    vf total[PARTS] = {};
    for (int d = 0; d < dim; d++)
      for (int j = 0; j < PARTS; j++) total[j] += load(keys + (int64_t)d * m.capacity + start + j * LANES) * query[d];
    for (int j = 0; j < PARTS; j++) {
      vf score = total[j] * m.query_scale;
      if (m.attention_cap > 0) score = m.attention_cap * hyperbolic_tangent(score / m.attention_cap);
      if (start < from || start + 64 > to) {
        const vi position = count_up() + (start + j * LANES);
        score = (position < from) | (position > to) ? none() : score;
      }
      store(scores + start + j * LANES, score);
      most = maximum(most, score);
    }
  }
  const float peak = largest(most);
  vf weight = {};
  for (int start = first; start <= to; start += LANES) {
    const vf e = exponential(load(scores + start) - peak);
    store(scores + start, e);
    weight += e;
  }
  const float share = 1.0f / sum(weight);
  for (int d = 0; d < dim; d += 64) {
    const int parts = dim - d < 64 ? (dim - d) / LANES : PARTS;
    vf total[PARTS] = {};
    for (int p = from; p <= to; p++)
      for (int j = 0; j < parts; j++) total[j] += load(values + (int64_t)p * dim + d + j * LANES) * scores[p];
    for (int j = 0; j < parts; j++) store(mixed + d + j * LANES, total[j] * share);
  }
}

class Step {
  const Model& m;
  const Tokens& tokens;
  const Room& room;
  Barrier& barrier;
  const int thread, threads;
  const int64_t width = padded(m.width), heads_width = padded((m.heads + 2 * m.kv_heads) * (int64_t)m.head_dim),
                mixed_width = padded((int64_t)m.heads * m.head_dim), inner_width = padded(m.inner);

  void meet() { barrier.wait(threads); }

  template <class Do>
  void split(int64_t count, Do work) {
    for (int64_t i = count * thread / threads; i < count * (thread + 1) / threads; i++) work(i);
    meet();
  }

  // A product of all rows of `from`; results reach `use` by pairs of vectors.
  template <class Use>
  void multiply(const Linear& linear, const float* from, int64_t stride, int count, Use use) {
    if (m.precision == INT8)
      split(count, [&](int64_t r) { room.scale[r] = quantise_row(from + r * stride, room.quantised + r * stride, (int)stride); });
    product(m.precision, Rows{from, room.quantised, room.scale, stride}, count, linear, thread, threads, use);
    meet();
  }

  void normed(const float* from, const float* weight, const float* bias, float* to) {
    split(tokens.count, [&](int64_t r) {
      if (weight) norm(from + r * width, weight, bias, m.centred_norm, m.eps, m.width, to + r * width);
      else memcpy(to + r * width, from + r * width, m.width * sizeof(float));
    });
  }

  // The stream grows by W x, or by the norm of it.
  void add(const Linear& linear, const float* from, int64_t stride, const float* post_norm) {
    multiply(linear, from, stride, tokens.count, [&](int r, int n, vf a, vf b) {
      float* to = (post_norm ? room.other : room.stream) + r * width + n;
      store(to, post_norm ? a : load(to) + a);
      store(to + LANES, post_norm ? b : load(to + LANES) + b);
    });
    if (!post_norm) return;
    split(tokens.count, [&](int64_t r) {
      float *y = room.other + r * width, *x = room.stream + r * width;
      norm(y, post_norm, nullptr, m.centred_norm, m.eps, m.width, y);
      for (int i = 0; i < m.width; i += LANES) store(x + i, load(x + i) + load(y + i));
    });
  }

  template <class Stored>
  void remember(const Layer& layer, int64_t r) {
    const int dim = m.head_dim, position = tokens.position[r], row = tokens.row[r];
    float *query = room.heads + r * heads_width, *key = query + m.heads * dim, *value = key + m.kv_heads * dim;
    if (layer.query_norm && m.whole_qk_norm) {
      norm(query, layer.query_norm, nullptr, false, m.eps, m.heads * dim, query);
      norm(key, layer.key_norm, nullptr, false, m.eps, m.kv_heads * dim, key);
    }
    for (int h = 0; h < m.heads + m.kv_heads; h++) {
      float* x = query + h * dim;
      if (layer.query_norm && !m.whole_qk_norm) norm(x, h < m.heads ? layer.query_norm : layer.key_norm, nullptr, false, m.eps, dim, x);
      const int half = layer.rotated / 2;
      if (half) rotate(x, layer.cosine + (int64_t)position * half, layer.sine + (int64_t)position * half, half);
    }
    if (layer.added >= 0) {
      const int size = m.kv_heads * dim;
      const float* more = tokens.added + ((int64_t)layer.added * tokens.count + r) * size;
      for (int i = 0; i < size; i += LANES) store(value + i, load(value + i) + load(more + i));
    }
    for (int h = 0; h < m.kv_heads; h++) {
      const int64_t head = (int64_t)row * m.kv_heads + h;
      Stored *keys = (Stored*)layer.keys + head * dim * m.capacity + position, *values = (Stored*)layer.values + (head * m.capacity + position) * dim;
      for (int d = 0; d < dim; d++) put(keys + (int64_t)d * m.capacity, key[h * dim + d]), put(values + d, value[h * dim + d]);
    }
  }

  template <class Stored>
  void attention(const Layer& layer, int64_t part) {
    const int r = (int)(part / m.heads), h = (int)(part % m.heads), to = tokens.position[r];
    const int64_t head = (int64_t)tokens.row[r] * m.kv_heads + h / (m.heads / m.kv_heads), size = (int64_t)m.head_dim * m.capacity;
    attend<Stored>(m, room.heads + r * heads_width + h * m.head_dim, (const Stored*)layer.keys + head * size, (const Stored*)layer.values + head * size,
                   layer.window && to >= layer.window ? to - layer.window + 1 : 0, to, room.scores + thread * padded(m.capacity),
                   room.mixed + r * mixed_width + h * m.head_dim);
  }

  void mlp(const Layer& layer, const float* from) {
    multiply(layer.up, from, width, tokens.count, [&](int r, int n, vf a, vf b) {
      float* to = room.inner + r * inner_width;
      if (m.gated) return store(to + n / 2, activate(a, m.activation) * b);
      store(to + n, activate(a, m.activation));
      store(to + n + LANES, activate(b, m.activation));
    });
    add(layer.down, room.inner, inner_width, layer.mlp_post_norm);
  }

  // The stream as the layer reads it: with some of the embedding.
  void enter(const Layer& layer) {
    if (layer.stream_scale == 1.0f && layer.embed_scale == 0.0f) return;
    split(tokens.count, [&](int64_t r) {
      float* x = room.stream + r * width;
      for (int i = 0; i < m.width; i += LANES) store(x + i, load(x + i) * layer.stream_scale + load(tokens.x + r * m.width + i) * layer.embed_scale);
    });
  }

  template <class Stored>
  void block(const Layer& layer) {
    enter(layer);
    normed(room.stream, layer.attention_norm, layer.attention_norm_bias, room.normed);
    multiply(layer.qkv, room.normed, width, tokens.count, [&](int r, int n, vf a, vf b) {
      store(room.heads + r * heads_width + n, a);
      store(room.heads + r * heads_width + n + LANES, b);
    });
    if (m.parallel) normed(room.stream, layer.mlp_norm, layer.mlp_norm_bias, room.normed);
    split(tokens.count, [&](int64_t r) { remember<Stored>(layer, r); });
    split((int64_t)tokens.count * m.heads, [&](int64_t part) { attention<Stored>(layer, part); });
    add(layer.out, room.mixed, mixed_width, layer.attention_post_norm);
    if (!m.parallel) normed(room.stream, layer.mlp_norm, layer.mlp_norm_bias, room.normed);
    mlp(layer, room.normed);
  }

  void logits() {
    split(tokens.num_wanted, [&](int64_t i) {
      norm(room.stream + tokens.wanted[i] * width, m.final_norm, m.final_norm_bias, m.centred_norm, m.eps, m.width, room.normed + i * width);
    });
    multiply(m.head, room.normed, width, tokens.num_wanted, [&](int r, int n, vf a, vf b) {
      float both[PANEL], *to = tokens.logits + (int64_t)r * m.vocab;
      if (m.final_cap > 0) a = m.final_cap * hyperbolic_tangent(a / m.final_cap), b = m.final_cap * hyperbolic_tangent(b / m.final_cap);
      store(both, a), store(both + LANES, b);
      const int here = m.vocab - n < PANEL ? m.vocab - n : PANEL;
      memcpy(to + n, both, here * sizeof(float));
    });
  }

 public:
  Step(const Model& m, const Tokens& tokens, const Room& room, Barrier& barrier, int thread, int threads)
      : m(m), tokens(tokens), room(room), barrier(barrier), thread(thread), threads(threads) {}

  void run() {
    split(tokens.count, [&](int64_t r) { memcpy(room.stream + r * width, tokens.x + r * m.width, m.width * sizeof(float)); });
    for (int i = 0; i < m.num_layers; i++) m.half_cache ? block<uint16_t>(m.layers[i]) : block<float>(m.layers[i]);
    if (tokens.num_wanted) logits();
  }
};

extern "C" {

int32_t trivium_has_fast_int8() { return FAST_INT8; }

int32_t trivium_lanes() { return LANES; }

int64_t trivium_room(const Model* m, int32_t threads) {
  Room room;
  return lay_out(*m, threads, nullptr, &room);
}

// room: zeros when it is first used, at least trivium_room() numbers.
void trivium_step(const Model* m, const Tokens* tokens, float* numbers, int32_t threads) {
  Room room;
  lay_out(*m, threads, numbers, &room);
  Barrier barrier;
#pragma omp parallel num_threads(threads)
  {
#ifdef _OPENMP
    Step(*m, *tokens, room, barrier, omp_get_thread_num(), omp_get_num_threads()).run();
#else
    Step(*m, *tokens, room, barrier, 0, 1).run();
#endif
  }
}

// A step of two models, each with room of its own, side by side: half of the threads for each, which do not wait for the other half.
// What a token gets does not depend on the number of threads, so it is what trivium_step gives. Of an odd number all do one after the other.
void trivium_step_pair(
    const Model* first, const Tokens* its, float* its_numbers, const Model* second, const Tokens* others, float* others_numbers, int32_t threads) {
  Room room, other_room;
  lay_out(*first, threads, its_numbers, &room);
  lay_out(*second, threads, others_numbers, &other_room);
  Barrier barrier, other_barrier;
#pragma omp parallel num_threads(threads)
  {
#ifdef _OPENMP
    const int thread = omp_get_thread_num(), all = omp_get_num_threads();
#else
    const int thread = 0, all = 1;
#endif
    const int half = all / 2;
    if (all % 2) {
      Step(*first, *its, room, barrier, thread, all).run();
      Step(*second, *others, other_room, other_barrier, thread, all).run();
    } else if (thread < half) {
      Step(*first, *its, room, barrier, thread, half).run();
    } else {
      Step(*second, *others, other_room, other_barrier, thread - half, half).run();
    }
  }
}

// Weights (outputs, inputs) row by row into panels; outputs and inputs are padded with zeros.
void trivium_pack(const float* from, int32_t rows, int32_t columns, int32_t precision, Linear* to) {
  const int64_t inputs = to->inputs;
#pragma omp parallel for schedule(static)
  for (int n = 0; n < to->outputs; n++) {
    const int64_t panel = n / PANEL, lane = n % PANEL;
    const float* row = n < rows ? from + (int64_t)n * columns : nullptr;
    float peak = 0;
    int32_t total = 0;
    for (int k = 0; row && k < columns; k++)
      if (!(fabsf(row[k]) <= peak)) peak = peak != peak ? peak : fabsf(row[k]);  // not-a-number too, and it stays
    for (int64_t k = 0; k < inputs; k++) {
      const float value = row && k < columns ? row[k] : 0.0f;
      if (precision == FLOAT32) ((float*)to->weight)[(panel * inputs + k) * PANEL + lane] = value;
      if (precision == BFLOAT16) ((uint16_t*)to->weight)[((panel * inputs / 2 + k / 2) * PANEL + lane) * 2 + k % 2] = rounded(value);
      if (precision == INT8) {
        const int32_t whole = peak > 0 ? (int32_t)lrintf(value / peak * 127.0f) : 0;
        ((int8_t*)to->weight)[((panel * inputs / 4 + k / 4) * PANEL + lane) * 4 + k % 4] = (int8_t)whole;
        total += whole;
      }
    }
    if (precision == INT8) ((float*)to->scale)[n] = peak / 127.0f, ((int32_t*)to->offset)[n] = 128 * total;
  }
}
}
