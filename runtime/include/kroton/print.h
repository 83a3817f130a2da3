#pragma once

#include <iosfwd>

namespace kroton {

/// Where kt::print shows values from now on, in every thread: std::cerr at first. The stream must
/// live until another one is set. Returns the one before.
std::ostream& set_print_stream(std::ostream& stream);

}  // namespace kroton
