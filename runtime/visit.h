#pragma once

#include <type_traits>

#include <kroton/dtype.h>
#include <kroton/error.h>

namespace kroton {

/// Calls `function` with std::type_identity<T>{} for the element type T of a dtype.
template <class Function>
decltype(auto) visit_dtype(DType dtype, Function&& function) {
  switch (dtype) {
#define KROTON_DTYPE(name, type, ...) \
  case DType::name:                   \
    return function(std::type_identity<type>{});
    KROTON_DTYPES(KROTON_DTYPE)
#undef KROTON_DTYPE
  }
  throw InternalError("visit_dtype: no such dtype: " + std::to_string(static_cast<int>(dtype)));
}

}  // namespace kroton
