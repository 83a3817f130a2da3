#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include <kroton/error.h>

namespace kroton {

/// The extents of an n-dimensional value: a list of up to 8 numbers, held without heap memory.
class Shape {
 public:
  static constexpr int max_rank = 8;

  /// Rank 0, the shape of a scalar.
  Shape() = default;

  /// `Shape{3, 4}`. Throws ValueError above 8 extents.
  Shape(std::initializer_list<std::int64_t> extents) { assign(extents.begin(), extents.size()); }

  /// The same from a span. Throws ValueError above 8 extents.
  explicit Shape(std::span<const std::int64_t> extents) { assign(extents.data(), extents.size()); }

  [[nodiscard]] int rank() const noexcept { return rank_; }

  /// Extent `axis`, 0 <= axis < rank(); not checked.
  std::int64_t operator[](int axis) const noexcept {
    return extents_[static_cast<std::size_t>(axis)];
  }
  std::int64_t& operator[](int axis) noexcept { return extents_[static_cast<std::size_t>(axis)]; }

  [[nodiscard]] const std::int64_t* begin() const noexcept { return extents_.data(); }
  [[nodiscard]] const std::int64_t* end() const noexcept { return extents_.data() + rank_; }
  [[nodiscard]] const std::int64_t* data() const noexcept { return extents_.data(); }

  /// Appends an extent. Throws ValueError when there are 8 already.
  void push_back(std::int64_t extent) {
    if (rank_ == max_rank) {
      fail_rank(max_rank + 1);
    }
    extents_[static_cast<std::size_t>(rank_++)] = extent;
  }

  /// The product of the extents, 1 for rank 0. Throws ValueError when an extent is negative or the
  /// product passes 2^63 - 1.
  [[nodiscard]] std::int64_t element_count() const {
    std::int64_t count = 1;
    bool overflow = false;
    bool empty = false;
    for (const std::int64_t extent : *this) {
      if (extent < 0) {
        fail_count();
      }
      empty = empty || extent == 0;
      overflow = __builtin_mul_overflow(count, extent, &count) || overflow;
    }
    if (empty) {
      return 0;
    }
    if (overflow) {
      fail_count();
    }
    return count;
  }

  friend bool operator==(const Shape& a, const Shape& b) noexcept {
    if (a.rank_ != b.rank_) {
      return false;
    }
    for (int axis = 0; axis < a.rank_; ++axis) {
      if (a[axis] != b[axis]) {
        return false;
      }
    }
    return true;
  }

 private:
  void assign(const std::int64_t* extents, std::size_t count) {
    if (count > max_rank) {
      fail_rank(count);
    }
    for (std::size_t axis = 0; axis < count; ++axis) {
      extents_[axis] = extents[axis];
    }
    rank_ = static_cast<int>(count);
  }
  [[noreturn]] static void fail_rank(std::size_t count);
  [[noreturn]] void fail_count() const;

  std::array<std::int64_t, max_rank> extents_{};
  int rank_ = 0;
};

/// "(3, 4)", "(3,)" or "()".
[[nodiscard]] std::string to_string(const Shape& shape);

}  // namespace kroton
