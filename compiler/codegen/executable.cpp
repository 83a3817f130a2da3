#include "compiler/codegen/executable.h"

namespace kroton {
namespace {

alignas(64) std::byte nothing[64];

}  // namespace

const void* address_of(const Array& array) { return array.size() == 0 ? nothing : array.raw(); }

void* address_of(Array& array) { return array.size() == 0 ? nothing : array.raw(); }

}  // namespace kroton
