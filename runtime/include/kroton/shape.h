#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <source_location>
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

  /// `Shape{3, 4}`. Throws ValueError, naming the line, above 8 extents.
  Shape(std::initializer_list<std::int64_t> extents,
        const std::source_location& at = std::source_location::current()) {
    assign(extents.begin(), extents.size(), at);
  }

  /// The same from a span.
  explicit Shape(std::span<const std::int64_t> extents,
                 const std::source_location& at = std::source_location::current()) {
    assign(extents.data(), extents.size(), at);
  }

  [[nodiscard]] int rank() const noexcept { return rank_; }

  /// Extent `axis`; a negative axis counts from the last. Throws ValueError for any other.
  std::int64_t operator[](int axis) const { return extents_[position(axis)]; }
  std::int64_t& operator[](int axis) { return extents_[position(axis)]; }

  [[nodiscard]] const std::int64_t* begin() const noexcept { return extents_.data(); }
  [[nodiscard]] const std::int64_t* end() const noexcept { return extents_.data() + rank_; }
  [[nodiscard]] const std::int64_t* data() const noexcept { return extents_.data(); }

  /// Appends an extent. Throws ValueError when there are 8 already.
  void push_back(std::int64_t extent,
                 const std::source_location& at = std::source_location::current()) {
    if (rank_ == max_rank) {
      fail_rank(max_rank + 1, at);
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
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(a.rank_); ++axis) {
      if (a.extents_[axis] != b.extents_[axis]) {
        return false;
      }
    }
    return true;
  }

 private:
  void assign(const std::int64_t* extents, std::size_t count, const std::source_location& at) {
    if (count > max_rank) {
      fail_rank(count, at);
    }
    for (std::size_t axis = 0; axis < count; ++axis) {
      extents_[axis] = extents[axis];
    }
    rank_ = static_cast<int>(count);
  }
  [[nodiscard]] std::size_t position(int axis) const {
    const int counted = axis < 0 ? axis + rank_ : axis;
    if (counted < 0 || counted >= rank_) {
      fail_axis(axis);
    }
    return static_cast<std::size_t>(counted);
  }
  [[noreturn]] static void fail_rank(std::size_t count, const std::source_location& at);
  [[noreturn]] void fail_axis(int axis) const;
  [[noreturn]] void fail_count() const;

  std::array<std::int64_t, max_rank> extents_{};
  int rank_ = 0;
};

/// "(3, 4)", "(3,)" or "()".
[[nodiscard]] std::string to_string(const Shape& shape);
std::ostream& operator<<(std::ostream& stream, const Shape& shape);

}  // namespace kroton
