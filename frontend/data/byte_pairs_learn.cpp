// Learning byte pairs. Pieces of the text that are alike are one, with a count; a merge changes the
// counts of the pairs around it, in the pieces that have it, and no others.
#include <kroton/error.h>
#include <kroton/text.h>

#include <algorithm>
#include <queue>
#include <string>

#include "frontend/data/byte_pairs.h"

namespace kroton::data {

namespace {

struct PairCount {
  std::int64_t count = 0;
  std::vector<std::uint32_t> pieces;  // in which it is, or was
};

struct Candidate {
  std::int64_t count;
  std::int64_t left, right;
  // The last is merged first: the most frequent, of those the one of the lower tokens.
  bool operator<(const Candidate& other) const {
    if (count != other.count) return count < other.count;
    if (left != other.left) return left > other.left;
    return right > other.right;
  }
};

class Learner {
 public:
  explicit Learner(std::string_view text) {
    std::unordered_map<std::string_view, std::int64_t> counts;
    std::vector<std::string_view> order;  // of their first occurrence
    while (!text.empty()) {
      const std::string_view piece = text.substr(0, piece_length(text));
      text.remove_prefix(piece.size());
      if (++counts[piece] == 1) order.push_back(piece);
    }
    for (const std::string_view piece : order) {
      if (piece.size() < 2) continue;
      std::vector<std::int32_t> tokens;
      tokens.reserve(piece.size());
      for (const char c : piece) tokens.push_back(static_cast<unsigned char>(c));
      pieces_.push_back({std::move(tokens), counts[piece]});
      const auto index = static_cast<std::uint32_t>(pieces_.size() - 1);
      const auto& all = pieces_.back().tokens;
      for (std::size_t k = 0; k + 1 < all.size(); ++k) {
        increase(all[k], all[k + 1], pieces_.back().count, index);
      }
    }
    offer_increased();
  }

  // The pair to be merged next, if there is one.
  bool next(std::int64_t& left, std::int64_t& right) {
    while (!candidates_.empty()) {
      Candidate best = candidates_.top();
      candidates_.pop();
      const auto at = pairs_.find(pair_key(best.left, best.right));
      if (at == pairs_.end() || at->second.count < 2) continue;
      if (at->second.count != best.count) {
        // It was more frequent once.
        best.count = at->second.count;
        candidates_.push(best);
        continue;
      }
      left = best.left;
      right = best.right;
      return true;
    }
    return false;
  }

  void merge(std::int64_t left, std::int64_t right, std::int64_t token) {
    const auto at = pairs_.find(pair_key(left, right));
    const std::vector<std::uint32_t> pieces = std::move(at->second.pieces);
    for (const std::uint32_t index : pieces) merge_in(index, left, right, token);
    pairs_.erase(pair_key(left, right));
    offer_increased();
  }

  // It is never merged.
  void leave_out(std::int64_t left, std::int64_t right) { pairs_.erase(pair_key(left, right)); }

 private:
  struct Piece {
    std::vector<std::int32_t> tokens;
    std::int64_t count;
  };

  void increase(std::int64_t left, std::int64_t right, std::int64_t by, std::uint32_t piece) {
    PairCount& pair = pairs_[pair_key(left, right)];
    pair.count += by;
    if (pair.pieces.empty() || pair.pieces.back() != piece) pair.pieces.push_back(piece);
    increased_.push_back(pair_key(left, right));
  }

  void decrease(std::int64_t left, std::int64_t right, std::int64_t by) {
    const auto at = pairs_.find(pair_key(left, right));
    if (at != pairs_.end()) at->second.count -= by;
  }

  void merge_in(std::uint32_t index, std::int64_t left, std::int64_t right, std::int64_t token) {
    auto& [tokens, count] = pieces_[index];
    std::size_t kept = 0;  // tokens that are done, at the front
    for (std::size_t k = 0; k < tokens.size(); ++k) {
      if (tokens[k] != left || k + 1 == tokens.size() || tokens[k + 1] != right) {
        tokens[kept++] = tokens[k];
        continue;
      }
      if (kept > 0) {
        decrease(tokens[kept - 1], left, count);
        increase(tokens[kept - 1], token, count, index);
      }
      if (k + 2 < tokens.size()) {
        decrease(right, tokens[k + 2], count);
        increase(token, tokens[k + 2], count, index);
      }
      tokens[kept++] = static_cast<std::int32_t>(token);
      ++k;
    }
    tokens.resize(kept);
  }

  void offer_increased() {
    std::ranges::sort(increased_);
    increased_.erase(std::unique(increased_.begin(), increased_.end()), increased_.end());
    for (const std::uint64_t key : increased_) {
      const auto at = pairs_.find(key);
      if (at == pairs_.end() || at->second.count < 2) continue;
      candidates_.push({at->second.count, static_cast<std::int64_t>(key >> 32),
                        static_cast<std::int64_t>(key & 0xffffffffU)});
    }
    increased_.clear();
  }

  std::vector<Piece> pieces_;
  std::unordered_map<std::uint64_t, PairCount> pairs_;
  std::vector<std::uint64_t> increased_;
  std::priority_queue<Candidate> candidates_;
};

}  // namespace

BytePairEncoding BytePairEncoding::learn(std::string_view text, std::int64_t vocabulary_size) {
  BytePairEncoding result;
  if (vocabulary_size < result.size() || vocabulary_size > largest_vocabulary) {
    throw ValueError("BytePairEncoding: expected a vocabulary of " + std::to_string(result.size()) +
                     " to " + std::to_string(largest_vocabulary) + " tokens, got " +
                     std::to_string(vocabulary_size));
  }
  if (result.size() == vocabulary_size) return result;
  Learner learner(text);
  std::int64_t left = 0, right = 0;
  while (result.size() < vocabulary_size && learner.next(left, right)) {
    if (result.token(left).size() + result.token(right).size() > longest_token) {
      learner.leave_out(left, right);
      continue;
    }
    learner.merge(left, right, result.size());
    result.add(left, right);
  }
  return result;
}

}  // namespace kroton::data
