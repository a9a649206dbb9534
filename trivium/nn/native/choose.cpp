// From logits to tokens: the same rules as generate/sampling.py, one row a thread.
#include <algorithm>
#include <functional>
#include <vector>

#include "vector.h"

struct Rule {
  float temperature, top_p, min_p, repetition_penalty;
  int32_t top_k;
};

constexpr int BLOCK = 512;  // sums of so many probabilities are kept, so that a draw looks at one block only

// The smallest logit that top_k, min_p and top_p leave. Equal logits stay or go together.
static float least_kept(const float* logits, int n, const Rule& rule, std::vector<float>& kept) {
  kept.assign(logits, logits + n);
  const float peak = *std::max_element(kept.begin(), kept.end());
  float least = -INFINITY;
  if (rule.top_k > 0 && rule.top_k < n) {
    std::nth_element(kept.begin(), kept.begin() + rule.top_k - 1, kept.end(), std::greater<float>());
    least = kept[rule.top_k - 1];
  }
  if (rule.min_p > 0) least = std::max(least, peak + logf(rule.min_p));
  if (rule.top_p >= 1) return least;
  kept.erase(std::remove_if(kept.begin(), kept.end(), [&](float x) { return x < least; }), kept.end());
  double total = 0, above = 0;
  for (float x : kept) total += exp((double)x - peak);
  for (size_t sorted = 0, size = 64; sorted < kept.size(); size *= 8) {
    const size_t end = std::min(kept.size(), sorted + size);
    if (end < kept.size()) std::nth_element(kept.begin() + sorted, kept.begin() + end, kept.end(), std::greater<float>());
    std::sort(kept.begin() + sorted, kept.begin() + end, std::greater<float>());
    for (size_t i = sorted; i < end; i++) {
      above += exp((double)kept[i] - peak);
      if (above >= rule.top_p * total) return kept[i];
    }
    sorted = end;
  }
  return least;
}

static int choose_row(float* logits, int n, const Rule& rule, double uniform, float* logprob, std::vector<float>& room) {
  for (int i = 0; i < n; i++)
    if (!std::isfinite(logits[i])) return -1;
  const bool greedy = rule.temperature == 0;
  if (!greedy && rule.temperature != 1)
    for (int i = 0; i < n; i++) logits[i] /= rule.temperature;
  if (!greedy && (rule.top_k > 0 || rule.top_p < 1 || rule.min_p > 0)) {
    const float least = least_kept(logits, n, rule, room);
    for (int i = 0; i < n; i++) logits[i] = logits[i] < least ? -INFINITY : logits[i];
  }
  const int best = (int)(std::max_element(logits, logits + n) - logits);
  const float peak = logits[best];
  room.resize(n + LANES);
  std::vector<double> blocks;
  double total = 0;
  for (int start = 0; start < n; start += BLOCK) {
    double block = 0;
    for (int i = start; i < std::min(n, start + BLOCK); i += LANES) {
      const int here = std::min(LANES, n - i);
      vf x = none();
      memcpy(&x, logits + i, here * sizeof(float));
      x = exponential(x - peak);
      store(room.data() + i, x);
      block += sum(x);
    }
    blocks.push_back(block);
    total += block;
  }
  int token = best;
  if (!greedy) {
    double left = uniform * total;
    size_t b = 0;
    while (b + 1 < blocks.size() && left >= blocks[b]) left -= blocks[b++];
    const int end = std::min(n, (int)(b + 1) * BLOCK);
    for (int i = (int)b * BLOCK; i < end; i++) {
      if (room[i] == 0) continue;  // cut away, or too unlikely to be a number
      token = i;
      left -= room[i];
      if (left < 0) break;
    }
  }
  *logprob = logits[token] - peak - (float)log(total);
  return token;
}

extern "C" {

// logits: (rows, vocab), changed. seen: the ids of each row so far, from seen_start[r] to seen_start[r + 1]; may be null.
// A row whose logits are not all finite gets the token -1.
void trivium_choose(float* logits, int32_t rows, int32_t vocab, const Rule* rule, const double* uniforms, const int32_t* seen,
                    const int64_t* seen_start, int32_t* tokens, float* logprobs) {
#pragma omp parallel
  {
    std::vector<float> room;
#pragma omp for schedule(static)
    for (int r = 0; r < rows; r++) {
      float* row = logits + (int64_t)r * vocab;
      if (seen)
        for (int64_t i = seen_start[r]; i < seen_start[r + 1]; i++) {
          float& x = row[seen[i]];
          x = x > 0 ? x / rule->repetition_penalty : x * rule->repetition_penalty;
        }
      tokens[r] = choose_row(row, vocab, *rule, uniforms[r], logprobs + r, room);
    }
  }
}
}
