// What the tests of arrays on devices share.
#pragma once
#include <kroton/kroton.h>

#include <functional>
#include <string>

namespace device_arrays {

namespace kt = kroton;

inline kt::Array numbered(const kt::Shape& shape, kt::DType dtype = kt::f32) {
  return kt::Array::arange(static_cast<double>(shape.element_count())).reshape(shape).cast(dtype);
}

inline std::string device_error(const std::function<void()>& f) {
  try {
    f();
  } catch (const kt::DeviceError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace device_arrays
