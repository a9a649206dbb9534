// What stands between the products of a training step, each in one pass over memory, forward and backward; float32.
#include <algorithm>
#include <vector>

#include "vector.h"

// Slopes by a weight that every row shares: a sum for each thread, then over threads in their order, so that the bits repeat.
class Sums {
  std::vector<float> numbers;
  const int64_t size;

 public:
  Sums(int64_t size, int threads) : numbers(size * threads), size(size) {}
  float* of(int thread) { return numbers.data() + size * thread; }
  void into(float* to, int threads) {
    for (int64_t i = 0; i < size; i++) {
      float total = 0;
      for (int t = 0; t < threads; t++) total += of(t)[i];
      to[i] = total;
    }
  }
};

// Rows [first, last) of a thread; always the same ones.
struct Share {
  int64_t first, last;
  Share(int64_t rows, int thread, int threads) : first(rows * thread / threads), last(rows * (thread + 1) / threads) {}
};

static float inverse_rms(const float* x, int n, float eps) {
  vf squares = {};
  for (int i = 0; i < n; i += LANES) squares += load(x + i) * load(x + i);
  return 1.0f / sqrtf(sum(squares) / n + eps);
}

// y = x r w with r = 1 / rms(x): by_x = r (w by_y - x r^2 mean(x w by_y)), by_w += x r by_y. by_x may be by_y.
static void norm_backward(const float* x, const float* w, const float* by_y, float* by_x, float* by_w, int n, float eps) {
  const float r = inverse_rms(x, n, eps);
  vf along = {};
  for (int i = 0; i < n; i += LANES) along += load(x + i) * load(w + i) * load(by_y + i);
  const float pull = sum(along) / n * r * r;
  for (int i = 0; i < n; i += LANES) {
    const vf value = load(x + i), slope = load(by_y + i);
    store(by_w + i, load(by_w + i) + value * slope * r);
    store(by_x + i, (load(w + i) * slope - value * pull) * r);
  }
}

static inline vf slope_of(vf x, int kind, vf* y) {
  if (kind == SILU) {
    const vf s = 1.0f / (1.0f + exponential(-x));
    *y = x * s;
    return s * (1.0f + x * (1.0f - s));
  }
  if (kind == GELU_TANH) {
    const vf t = hyperbolic_tangent(0.7978845608028654f * (x + 0.044715f * x * x * x));
    *y = 0.5f * x * (1.0f + t);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.7978845608028654f * (1.0f + 0.134145f * x * x);
  }
  if (kind == SQUARED_RELU) {
    *y = positive(x) * positive(x);
    return 2.0f * positive(x);
  }
  const vf cdf = 0.5f * (1.0f + error_function(x * 0.7071067811865476f));
  *y = x * cdf;
  return cdf + x * 0.3989422804014327f * exponential(-0.5f * x * x);
}

// What turns the joint output of three products into heads: norms (or null), rotations, and the order (B, H, L, D).
struct Turn {
  const float *query_norm, *key_norm, *cosine, *sine;
  const int32_t* position;  // (B, L)
  int32_t batch, length, heads, kv_heads, dim, rotated;
  float eps;
};

static void rotate(const float* x, const float* cosine, const float* sine, int half, float way, float* to) {
  for (int i = 0; i < half; i++) {
    const float a = x[i], b = x[i + half], s = way * sine[i];
    to[i] = a * cosine[i] - b * s;
    to[i + half] = b * cosine[i] + a * s;
  }
}

// A head of a token: which of the three it is, and where it stands in it.
struct Place {
  bool is_query, is_value;
  int64_t offset;
  Place(const Turn& t, int64_t token, int h) : is_query(h < t.heads), is_value(h >= t.heads + t.kv_heads) {
    const int64_t row = token / t.length, at = token % t.length;
    offset = ((is_query ? row * t.heads + h : row * t.kv_heads + (h - t.heads) % t.kv_heads) * t.length + at) * t.dim;
  }
  const float* norm(const Turn& t) const { return is_value ? nullptr : is_query ? t.query_norm : t.key_norm; }
};

template <class From, class To>
static void copy(const From* from, int n, To* to) {
  for (int i = 0; i < n; i += LANES) store(to + i, load(from + i));
}

// joint is float32 or bfloat16.
template <class T>
static void turn(const Turn& t, const T* joint, float* query, float* key, float* value) {
  const int dim = t.dim, all_heads = t.heads + 2 * t.kv_heads, half = t.rotated / 2;
#pragma omp parallel for schedule(static)
  for (int64_t token = 0; token < (int64_t)t.batch * t.length; token++) {
    std::vector<float> from(dim);
    for (int h = 0; h < all_heads; h++) {
      const Place place(t, token, h);
      float* to = (place.is_query ? query : place.is_value ? value : key) + place.offset;
      copy(joint + (token * all_heads + h) * dim, dim, from.data());
      if (const float* weight = place.norm(t)) {
        const float r = inverse_rms(from.data(), dim, t.eps);
        for (int i = 0; i < dim; i += LANES) store(from.data() + i, load(from.data() + i) * r * load(weight + i));
      }
      const int turned = place.is_value ? 0 : 2 * half;
      const int64_t angle = (int64_t)t.position[token] * half;
      if (turned) rotate(from.data(), t.cosine + angle, t.sine + angle, half, 1.0f, to);
      for (int i = turned; i < dim; i++) to[i] = from[i];
    }
  }
}

struct Slopes {
  const float *query, *key, *value;
};

template <class T>
static void turn_backward(const Turn& t, const T* joint, Slopes by, int threads, T* by_joint, float* by_query_norm, float* by_key_norm) {
  const int dim = t.dim, all_heads = t.heads + 2 * t.kv_heads, half = t.rotated / 2;
  Sums query_sums(dim, threads), key_sums(dim, threads);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int thread = 0; thread < threads; thread++) {
    const Share share((int64_t)t.batch * t.length, thread, threads);
    std::vector<float> to(dim), was(dim);
    for (int64_t token = share.first; token < share.last; token++)
      for (int h = 0; h < all_heads; h++) {
        const Place place(t, token, h);
        const float* from = (place.is_query ? by.query : place.is_value ? by.value : by.key) + place.offset;
        const int turned = place.is_value ? 0 : 2 * half;
        const int64_t angle = (int64_t)t.position[token] * half;
        if (turned) rotate(from, t.cosine + angle, t.sine + angle, half, -1.0f, to.data());
        for (int i = turned; i < dim; i++) to[i] = from[i];
        if (const float* weight = place.norm(t)) {
          copy(joint + (token * all_heads + h) * dim, dim, was.data());
          norm_backward(was.data(), weight, to.data(), to.data(), (place.is_query ? query_sums : key_sums).of(thread), dim, t.eps);
        }
        copy(to.data(), dim, by_joint + (token * all_heads + h) * dim);
      }
  }
  if (by_query_norm) query_sums.into(by_query_norm, threads), key_sums.into(by_key_norm, threads);
}

// both: (rows, 2 n), the gate and then up -> (rows, n); float32 or bfloat16
template <class T>
static void gated(const T* both, int64_t rows, int n, int activation, T* y) {
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++)
    for (int i = 0; i < n; i += LANES) store(y + row * n + i, activate(load(both + row * 2 * n + i), activation) * load(both + (row * 2 + 1) * n + i));
}

// y, unless null: what forward gave, for those who did not keep it.
template <class T>
static void gated_backward(const T* both, const T* by_y, int64_t rows, int n, int activation, T* by_both, T* y) {
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++)
    for (int i = 0; i < n; i += LANES) {
      const vf gate = load(both + row * 2 * n + i), up = load(both + (row * 2 + 1) * n + i), slope = load(by_y + row * n + i);
      vf active;
      const vf by_active = slope_of(gate, activation, &active);
      store(by_both + row * 2 * n + i, slope * up * by_active);
      store(by_both + (row * 2 + 1) * n + i, slope * active);
      if (y) store(y + row * n + i, activate(gate, activation) * up);
    }
}

extern "C" {

void trivium_norm(const float* x, const float* w, int64_t rows, int32_t n, float eps, float* y) {
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    const float *from = x + row * n, r = inverse_rms(from, n, eps);
    for (int i = 0; i < n; i += LANES) store(y + row * n + i, load(from + i) * r * load(w + i));
  }
}

void trivium_norm_backward(const float* x, const float* w, const float* by_y, int64_t rows, int32_t n, float eps, int32_t threads, float* by_x, float* by_w) {
  Sums sums(n, threads);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int t = 0; t < threads; t++) {
    const Share share(rows, t, threads);
    for (int64_t row = share.first; row < share.last; row++) norm_backward(x + row * n, w, by_y + row * n, by_x + row * n, sums.of(t), n, eps);
  }
  sums.into(by_w, threads);
}

// joint: (B, L, (H + 2 KV) D) -> query (B, H, L, D), key and value (B, KV, L, D)
void trivium_turn(const Turn* t, const float* joint, float* query, float* key, float* value) { turn(*t, joint, query, key, value); }
void trivium_turn_half(const Turn* t, const uint16_t* joint, float* query, float* key, float* value) { turn(*t, joint, query, key, value); }

// joint may be null where there are no norms, whose slopes alone need it.
void trivium_turn_backward(const Turn* t, const float* joint, const float* by_query, const float* by_key, const float* by_value, int32_t threads,
                           float* by_joint, float* by_query_norm, float* by_key_norm) {
  turn_backward(*t, joint, {by_query, by_key, by_value}, threads, by_joint, by_query_norm, by_key_norm);
}
void trivium_turn_half_backward(const Turn* t, const uint16_t* joint, const float* by_query, const float* by_key, const float* by_value,
                                int32_t threads, uint16_t* by_joint, float* by_query_norm, float* by_key_norm) {
  turn_backward(*t, joint, {by_query, by_key, by_value}, threads, by_joint, by_query_norm, by_key_norm);
}

void trivium_gated(const float* both, int64_t rows, int32_t n, int32_t activation, float* y) { gated(both, rows, n, activation, y); }
void trivium_gated_half(const uint16_t* both, int64_t rows, int32_t n, int32_t activation, uint16_t* y) { gated(both, rows, n, activation, y); }

void trivium_gated_backward(const float* both, const float* by_y, int64_t rows, int32_t n, int32_t activation, float* by_both) {
  gated_backward<float>(both, by_y, rows, n, activation, by_both, nullptr);
}
void trivium_gated_half_backward(
    const uint16_t* both, const uint16_t* by_y, int64_t rows, int32_t n, int32_t activation, uint16_t* by_both, uint16_t* y) {
  gated_backward(both, by_y, rows, n, activation, by_both, y);
}

// by_y null: to = relu(x)^2, else its slope by x; n is whole vectors.
void trivium_squared_relu(const float* x, const float* by_y, int64_t n, float* to) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i += LANES) {
    vf y;
    const vf by_x = slope_of(load(x + i), SQUARED_RELU, &y);
    store(to + i, by_y ? load(by_y + i) * by_x : y);
  }
}

// Log of the sum of e^logits of each row, (rows,), and unless null the entropy of its softmax; n need not be whole vectors.
void trivium_logsumexp(const float* logits, int64_t rows, int64_t n, float* to, float* entropy) {
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    const float* x = logits + row * n;
    const int64_t whole = n / LANES * LANES;
    vf most = none();
    for (int64_t i = 0; i < whole; i += LANES) most = maximum(most, load(x + i));
    float peak = largest(most);
    for (int64_t i = whole; i < n; i++) peak = std::max(peak, x[i]);
    double total = 0, weighted = 0;  // sums of e^(x - peak), and of that times x - peak
    for (int64_t block = 0; block < whole; block += 1024) {
      const int64_t end = std::min(whole, block + 1024);
      vf part = {}, product = {};
      if (entropy)
        for (int64_t i = block; i < end; i += LANES) {
          const vf down = load(x + i) - peak, e = exponential(down);
          part += e;
          product += e == 0 ? (vf){} : e * down;
        }
      else
        for (int64_t i = block; i < end; i += LANES) part += exponential(load(x + i) - peak);
      total += sum(part);
      weighted += sum(product);
    }
    for (int64_t i = whole; i < n; i++) {
      const float e = expf(x[i] - peak);
      total += e;
      weighted += e == 0 ? 0 : e * (x[i] - peak);
    }
    to[row] = peak + (float)log(total);
    if (entropy) entropy[row] = (float)(log(total) - weighted / total);
  }
}

// to = cap tanh(x / cap); n need not be whole vectors.
void trivium_capped(const float* x, int64_t n, float cap, float* to) {
  const int64_t whole = n / LANES * LANES;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < whole; i += LANES) store(to + i, cap * hyperbolic_tangent(load(x + i) / cap));
  for (int64_t i = whole; i < n; i++) to[i] = cap * tanhf(x[i] / cap);
}

// Slopes by the logits: weight (onehot(target) - softmax), or if they were capped, by what they were before. to may be the logits.
void trivium_softmax_slope(const float* logits, const int64_t* target, const float* lse, const float* weight, int64_t rows, int64_t n, float cap, float* to) {
  const float steepness = cap > 0 ? 1.0f / (cap * cap) : 0.0f;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < rows; row++) {
    const float* x = logits + row * n;
    float* y = to + row * n;
    const int64_t whole = n / LANES * LANES;
    const float chosen = weight[row] * (1.0f - x[target[row]] * x[target[row]] * steepness);
    for (int64_t i = 0; i < whole; i += LANES) {
      const vf value = load(x + i);
      store(y + i, exponential(value - lse[row]) * -weight[row] * (1.0f - value * value * steepness));
    }
    for (int64_t i = whole; i < n; i++) y[i] = expf(x[i] - lse[row]) * -weight[row] * (1.0f - x[i] * x[i] * steepness);
    y[target[row]] += chosen;
  }
}
}
