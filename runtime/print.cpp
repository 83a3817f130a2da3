#include "runtime/print.h"

#include <kroton/array.h>

#include <iostream>
#include <mutex>
#include <utility>

namespace kroton {
namespace {

struct Output {
  std::mutex mutex;
  std::ostream* stream = &std::cerr;
};

Output& output() {
  static Output& output = *new Output;  // compiled functions may run until the process's very end
  return output;
}

}  // namespace

std::ostream& set_print_stream(std::ostream& stream) {
  const std::lock_guard lock(output().mutex);
  return *std::exchange(output().stream, &stream);
}

extern "C" void kroton_print_value(kroton_context*, const char* message, std::int32_t dtype,
                                   std::int32_t rank, const std::int64_t* shape, const void* data) {
  Shape sizes;
  for (std::int32_t axis = 0; axis < rank; ++axis) sizes.push_back(shape[axis]);
  const auto view = [&]<class T>(T*) {
    return Array::view(const_cast<T*>(static_cast<const T*>(data)), sizes);
  };
  Array value;
  switch (static_cast<DType>(dtype)) {
    case DType::boolean:
      value = view(static_cast<bool*>(nullptr));
      break;
    case DType::i32:
      value = view(static_cast<std::int32_t*>(nullptr));
      break;
    case DType::i64:
      value = view(static_cast<std::int64_t*>(nullptr));
      break;
    case DType::f32:
      value = view(static_cast<float*>(nullptr));
      break;
    case DType::f64:
      value = view(static_cast<double*>(nullptr));
      break;
  }
  std::string text = message;
  if (!text.empty()) text += ' ';
  text += std::string(name_of(value.dtype())) + " " + to_string(value.shape()) + "\n" +
          to_string(value) + "\n";
  const std::lock_guard lock(output().mutex);
  *output().stream << text << std::flush;
}

}  // namespace kroton
