// The text of the C header that goes with an object file.
#pragma once
#include "compiler/aot/c_interface.h"

namespace kroton::aot {

// Plain C99 that is C++ too; depends on <stddef.h> and <stdint.h> only. Its comments are the
// documentation of the functions.
std::string c_header(const CInterface& interface, const Program& program);

}  // namespace kroton::aot
