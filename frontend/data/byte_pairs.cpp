// Encoding: in every piece the pair of the lowest token is merged, the leftmost of them first. A
// merge makes pairs of higher tokens only, so that the order is that of learning.
#include "frontend/data/byte_pairs.h"

#include <kroton/error.h>
#include <kroton/text.h>

#include <functional>
#include <queue>
#include <string>
#include <tuple>

#include "frontend/data/tokens.h"

namespace kroton::data {

namespace {

enum class Kind { blank, letter, digit, other };

Kind kind_of(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (c == ' ' || (c >= '\t' && c <= '\r')) return Kind::blank;
  if (c >= '0' && c <= '9') return Kind::digit;
  const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || byte >= 0x80;
  return is_letter ? Kind::letter : Kind::other;
}

// The first position from `start` on that is of another kind.
std::size_t end_of(std::string_view text, std::size_t start, Kind kind) {
  while (start < text.size() && kind_of(text[start]) == kind) ++start;
  return start;
}

class Piece {
 public:
  Piece(std::string_view bytes, const std::unordered_map<std::uint64_t, std::int64_t>& merged)
      : merged_(merged) {
    const std::size_t count = bytes.size();
    nodes_.reserve(count);
    for (std::size_t k = 0; k < count; ++k) {
      nodes_.push_back({static_cast<unsigned char>(bytes[k]), k == 0 ? none : k - 1,
                        k + 1 == count ? none : k + 1});
    }
    for (std::size_t k = 0; k < count; ++k) push(k);
  }

  void merge_into(std::vector<std::int64_t>& tokens) {
    while (!waiting_.empty()) {
      const auto [token, at] = waiting_.top();
      waiting_.pop();
      if (token_of_pair(at) != token) continue;  // of tokens that are merged already
      Node& node = nodes_[at];
      Node& gone = nodes_[node.next];
      node.token = token;
      gone.token = -1;
      node.next = gone.next;
      if (node.next != none) nodes_[node.next].previous = at;
      push(at);
      if (node.previous != none) push(node.previous);
    }
    for (std::size_t at = 0; at != none; at = nodes_[at].next) tokens.push_back(nodes_[at].token);
  }

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  struct Node {
    std::int64_t token;  // -1: part of the one before
    std::size_t previous, next;
  };

  // Of the pair that begins there; -1 where there is none.
  std::int64_t token_of_pair(std::size_t at) const {
    const Node& node = nodes_[at];
    if (node.token < 0 || node.next == none) return -1;
    const auto merge = merged_.find(pair_key(node.token, nodes_[node.next].token));
    return merge == merged_.end() ? -1 : merge->second;
  }

  void push(std::size_t at) {
    if (const std::int64_t token = token_of_pair(at); token >= 0) waiting_.emplace(token, at);
  }

  using Waiting = std::pair<std::int64_t, std::size_t>;
  const std::unordered_map<std::uint64_t, std::int64_t>& merged_;
  std::vector<Node> nodes_;
  std::priority_queue<Waiting, std::vector<Waiting>, std::greater<>> waiting_;
};

}  // namespace

std::size_t piece_length(std::string_view text) {
  if (text[0] == '\'') {
    for (const char* ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
      if (text.substr(1).starts_with(ending)) return 1 + std::string_view(ending).size();
    }
  }
  const std::size_t blanks = end_of(text, 0, Kind::blank);
  if (blanks == text.size()) return blanks;
  // A space goes with what follows, the blanks before it do not.
  if (blanks > 1) return blanks - 1;
  if (blanks == 1 && text[0] != ' ') return 1;
  return end_of(text, blanks, kind_of(text[blanks]));
}

BytePairEncoding::BytePairEncoding() {
  for (int byte = 0; byte < 256; ++byte) tokens_.emplace_back(1, static_cast<char>(byte));
}

void BytePairEncoding::add(std::int64_t left, std::int64_t right) {
  merged_.emplace(pair_key(left, right), size());
  merges_.emplace_back(left, right);
  tokens_.push_back(tokens_[static_cast<std::size_t>(left)] +
                    tokens_[static_cast<std::size_t>(right)]);
}

std::vector<std::int64_t> BytePairEncoding::encode(std::string_view text) const {
  constexpr std::size_t longest_kept = 64;
  std::vector<std::int64_t> tokens;
  // Where the tokens of pieces that were met before are.
  std::unordered_map<std::string_view, std::pair<std::size_t, std::size_t>> known;
  while (!text.empty()) {
    const std::string_view piece = text.substr(0, piece_length(text));
    text.remove_prefix(piece.size());
    const std::size_t start = tokens.size();
    if (const auto at = known.find(piece); at != known.end()) {
      const auto [first, count] = at->second;
      for (std::size_t k = 0; k < count; ++k) {
        const std::int64_t token = tokens[first + k];
        tokens.push_back(token);
      }
      continue;
    }
    Piece(piece, merged_).merge_into(tokens);
    if (piece.size() <= longest_kept) known.emplace(piece, std::pair(start, tokens.size() - start));
  }
  return tokens;
}

std::string BytePairEncoding::decode(std::span<const std::int64_t> tokens) const {
  check_tokens("BytePairEncoding", tokens, size());
  std::string text;
  for (const std::int64_t token : tokens) text += tokens_[static_cast<std::size_t>(token)];
  return text;
}

std::string BytePairEncoding::decode(const Array& tokens) const {
  return decode_array("BytePairEncoding", *this, tokens);
}

std::string_view BytePairEncoding::token(std::int64_t token) const {
  check_tokens("BytePairEncoding", {&token, 1}, size());
  return tokens_[static_cast<std::size_t>(token)];
}

}  // namespace kroton::data
