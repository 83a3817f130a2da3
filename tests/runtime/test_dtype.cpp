// The table of dtypes: what holds for every entry, whichever are added.
#include <doctest/doctest.h>
#include <kroton/array.h>

#include <set>

#include "runtime/abi.h"
#include "runtime/visit.h"

namespace kt = kroton;
using kt::Array;
using kt::DType;
using kt::DTypeInfo;
using kt::DTypeKind;

namespace {

template <class Function>
void for_each_dtype(Function function) {
  for (const DTypeInfo& info : kt::dtype_table) {
    CAPTURE(info.name);
    kt::visit_dtype(info.dtype, [&]<class T>(std::type_identity<T>) { function(info, T{}); });
  }
}

// Where two dtypes would meet, of these kinds and numbers of bits.
bool meet(kt::detail::KindAndBits a, kt::detail::KindAndBits b, kt::detail::KindAndBits expected) {
  return kt::detail::joined(a, b) == expected && kt::detail::joined(b, a) == expected;
}

}  // namespace

TEST_CASE("dtypes: the entries of the table agree with the element types") {
  std::set<std::string_view> names;
  std::size_t number = 0;
  for_each_dtype([&]<class T>(const DTypeInfo& info, T) {
    CHECK(static_cast<std::size_t>(info.dtype) == number++);
    CHECK(&kt::info_of(info.dtype) == &info);
    CHECK(names.insert(info.name).second);
    CHECK(kt::dtype_of<T> == info.dtype);
    CHECK(info.bytes == sizeof(T));
    CHECK(kt::bits_of(info.dtype) == 8 * info.bytes);
    CHECK(kt::is_float(info.dtype) == kt::is_floating_element<T>);
    CHECK(kt::is_integer(info.dtype) == (std::is_integral_v<T> && !std::same_as<T, bool>));
    CHECK(kt::is_signed(info.dtype) == (std::is_integral_v<T> && std::is_signed_v<T>));
    const DTypeInfo& computed_in = kt::info_of(info.computed_in);
    CHECK(computed_in.kind == info.kind);
    CHECK(computed_in.bytes >= info.bytes);
    CHECK(computed_in.computed_in == computed_in.dtype);
    if constexpr (std::is_integral_v<T>) {
      CHECK(kt::lowest_of(info.dtype) == static_cast<std::int64_t>(std::numeric_limits<T>::min()));
      CHECK(kt::highest_of(info.dtype) ==
            static_cast<std::uint64_t>(std::numeric_limits<T>::max()));
    } else {
      CHECK(kt::size_of(kt::integer_of_size(info.dtype)) == info.bytes);
    }
  });
  CHECK(number == std::size(kt::dtype_table));
}

TEST_CASE("dtypes: their numbers are those of the call ABI") {
  CHECK(static_cast<int>(kt::boolean) == KROTON_BOOLEAN);
  CHECK(static_cast<int>(kt::i32) == KROTON_I32);
  CHECK(static_cast<int>(kt::i64) == KROTON_I64);
  CHECK(static_cast<int>(kt::f32) == KROTON_F32);
  CHECK(static_cast<int>(kt::f64) == KROTON_F64);
  CHECK(static_cast<int>(kt::i8) == KROTON_I8);
  CHECK(static_cast<int>(kt::i16) == KROTON_I16);
  CHECK(static_cast<int>(kt::u8) == KROTON_U8);
  CHECK(static_cast<int>(kt::u16) == KROTON_U16);
  CHECK(static_cast<int>(kt::u32) == KROTON_U32);
  CHECK(static_cast<int>(kt::u64) == KROTON_U64);
  CHECK(static_cast<int>(kt::f16) == KROTON_F16);
  CHECK(static_cast<int>(kt::bf16) == KROTON_BF16);
  CHECK(std::size(kt::dtype_table) == KROTON_BF16 + 1);
}

TEST_CASE("dtypes: promotion is a join") {
  for (const DTypeInfo& a : kt::dtype_table) {
    CHECK(kt::promote(a.dtype, a.dtype) == a.dtype);
    for (const DTypeInfo& b : kt::dtype_table) {
      CHECK(kt::promote(a.dtype, b.dtype) == kt::promote(b.dtype, a.dtype));
      // A conversion that keeps every value is one that promotion may make.
      if (kt::keeps_every_value(a.dtype, b.dtype)) CHECK(kt::promote(a.dtype, b.dtype) == b.dtype);
      for (const DTypeInfo& c : kt::dtype_table) {
        CHECK(kt::promote(a.dtype, kt::promote(b.dtype, c.dtype)) ==
              kt::promote(kt::promote(a.dtype, b.dtype), c.dtype));
      }
    }
  }
  const DType order[] = {kt::boolean, kt::i32, kt::i64, kt::f32, kt::f64};
  for (std::size_t k = 1; k < std::size(order); ++k) {
    CHECK(kt::promote(order[k - 1], order[k]) == order[k]);
  }
}

TEST_CASE("dtypes: unsigned integers promote by their kind and bits") {
  using enum DTypeKind;
  CHECK(meet({unsigned_integer, 8}, {unsigned_integer, 16}, {unsigned_integer, 16}));
  CHECK(meet({unsigned_integer, 8}, {signed_integer, 32}, {signed_integer, 32}));
  CHECK(meet({unsigned_integer, 32}, {signed_integer, 32}, {signed_integer, 64}));
  CHECK(meet({unsigned_integer, 64}, {signed_integer, 32}, {signed_integer, 64}));
  CHECK(meet({unsigned_integer, 64}, {floating, 16}, {floating, 16}));
  CHECK(meet({unsigned_integer, 8}, {boolean, 8}, {unsigned_integer, 8}));
}

TEST_CASE("dtypes: a conversion that keeps every value does") {
  for_each_dtype([]<class From>(const DTypeInfo& from, From) {
    using Limits = std::numeric_limits<From>;
    const From ends[] = {Limits::lowest(), Limits::max()};
    const Array values = Array::from(std::span<const From>(ends));
    for (const DTypeInfo& to : kt::dtype_table) {
      CAPTURE(to.name);
      const bool kept = kt::array_equal(values.cast(to.dtype).cast(from.dtype), values);
      if (kt::keeps_every_value(from.dtype, to.dtype)) CHECK(kept);
      if (!kept) CHECK_FALSE(kt::keeps_every_value(from.dtype, to.dtype));
    }
  });
  CHECK_FALSE(kt::keeps_every_value(kt::i64, kt::f64));
  CHECK_FALSE(kt::keeps_every_value(kt::i32, kt::f32));
  CHECK_FALSE(kt::keeps_every_value(kt::f64, kt::f32));
  CHECK(kt::keeps_every_value(kt::i32, kt::f64));
}
