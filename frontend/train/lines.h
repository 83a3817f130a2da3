// Where users write things, for messages.
#pragma once
#include <kroton/tensor.h>

#include <source_location>

namespace kroton::nn {

inline SourceLine line_of(const std::source_location& at) { return {at.file_name(), at.line()}; }

}  // namespace kroton::nn
