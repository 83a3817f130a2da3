#pragma once

#include <iosfwd>

namespace kroton {

/// Where kt::print shows values from now on, in every thread: std::cerr at first. The stream must
/// live until another one is set. Returns the one before.
///
/// An exception of the stream ends the call that prints, which throws it and has updated nothing.
/// The stream's buffer may call functions, also such that print: what they print is shown next.
/// They may read the shared variables that the call in progress only reads, and use others;
/// ValueError for the rest.
std::ostream& set_print_stream(std::ostream& stream);

}  // namespace kroton
