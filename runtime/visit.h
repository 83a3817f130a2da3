#pragma once

#include <type_traits>

#include <kroton/dtype.h>
#include <kroton/error.h>

namespace kroton {

/// Calls `function` with std::type_identity<T>{} for the element type T of a dtype.
template <class Function>
decltype(auto) visit_dtype(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::boolean:
      return function(std::type_identity<bool>{});
    case DType::i32:
      return function(std::type_identity<std::int32_t>{});
    case DType::i64:
      return function(std::type_identity<std::int64_t>{});
    case DType::f32:
      return function(std::type_identity<float>{});
    case DType::f64:
      return function(std::type_identity<double>{});
  }
  throw InternalError("visit_dtype: no such dtype: " + std::to_string(static_cast<int>(dtype)));
}

}  // namespace kroton
