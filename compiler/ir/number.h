// The numbers of the reference interpreter.
#pragma once
#include <kroton/dtype.h>

#include <compare>
#include <concepts>
#include <ostream>

namespace kroton {

// A double, or an integer that is exact whichever dtype it belongs to. Sums, differences and
// products of integers are integers of 128 bits that wrap: what an element of 64 bits holds of them
// is right to the last bit. All else, and what has a double among its operands, is a double.
class Number {
 public:
  __extension__ typedef __int128 Whole;          // NOLINT: not in the standard
  __extension__ typedef unsigned __int128 Bits;  // NOLINT

  constexpr Number(double value = 0) : real_(value) {}               // NOLINT: implicit
  constexpr Number(Whole value) : whole_(value), is_whole_(true) {}  // NOLINT: implicit
  template <std::integral T>
  constexpr Number(T value) : Number(static_cast<Whole>(value)) {}  // NOLINT: implicit

  constexpr bool is_whole() const { return is_whole_; }
  constexpr Whole whole() const { return whole_; }  // if it is_whole()
  constexpr Bits bits() const { return static_cast<Bits>(whole_); }

  constexpr operator double() const {  // NOLINT: implicit
    return is_whole_ ? static_cast<double>(whole_) : real_;
  }
  template <std::integral T>
  explicit constexpr operator T() const {
    return is_whole_ ? static_cast<T>(whole_) : static_cast<T>(real_);
  }

  constexpr Number operator-() const;
  Number& operator+=(const Number& other);
  Number& operator*=(const Number& other);

  friend std::ostream& operator<<(std::ostream& stream, const Number& x) {
    return x.is_whole_ ? stream << static_cast<std::int64_t>(x.whole_) : stream << x.real_;
  }

 private:
  double real_ = 0;
  Whole whole_ = 0;
  bool is_whole_ = false;
};

// Templates, so that a built-in operator is no better match where one operand is another number.
template <class A, class B>
concept Numbers = (std::same_as<A, Number> || std::same_as<B, Number>) &&
                  std::convertible_to<A, Number> && std::convertible_to<B, Number>;

constexpr bool are_whole(const Number& a, const Number& b) { return a.is_whole() && b.is_whole(); }

template <class A, class B>
  requires Numbers<A, B>
constexpr Number operator+(const A& first, const B& second) {
  const Number a = first, b = second;
  if (are_whole(a, b)) return static_cast<Number::Whole>(a.bits() + b.bits());
  return static_cast<double>(a) + static_cast<double>(b);
}

template <class A, class B>
  requires Numbers<A, B>
constexpr Number operator-(const A& first, const B& second) {
  const Number a = first, b = second;
  if (are_whole(a, b)) return static_cast<Number::Whole>(a.bits() - b.bits());
  return static_cast<double>(a) - static_cast<double>(b);
}

template <class A, class B>
  requires Numbers<A, B>
constexpr Number operator*(const A& first, const B& second) {
  const Number a = first, b = second;
  if (are_whole(a, b)) return static_cast<Number::Whole>(a.bits() * b.bits());
  return static_cast<double>(a) * static_cast<double>(b);
}

template <class A, class B>
  requires Numbers<A, B>
constexpr double operator/(const A& first, const B& second) {
  const Number a = first, b = second;
  return static_cast<double>(a) / static_cast<double>(b);
}

template <class A, class B>
  requires Numbers<A, B>
constexpr bool operator==(const A& first, const B& second) {
  const Number a = first, b = second;
  return are_whole(a, b) ? a.whole() == b.whole()
                         : static_cast<double>(a) == static_cast<double>(b);
}

template <class A, class B>
  requires Numbers<A, B>
constexpr std::partial_ordering operator<=>(const A& first, const B& second) {
  const Number a = first, b = second;
  if (are_whole(a, b)) return a.whole() <=> b.whole();
  return static_cast<double>(a) <=> static_cast<double>(b);
}

constexpr Number Number::operator-() const { return is_whole_ ? 0 - *this : Number(-real_); }
inline Number& Number::operator+=(const Number& other) { return *this = *this + other; }
inline Number& Number::operator*=(const Number& other) { return *this = *this * other; }

// What an element of the dtype holds of it: integers wrap, a boolean is 0 or 1; floating values
// keep their double precision.
Number stored_as(DType dtype, const Number& value);

}  // namespace kroton
