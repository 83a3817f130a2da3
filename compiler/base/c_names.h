// Names from the user's program in C, C++ and CUDA: of functions, parameters and members that other
// people's headers are compiled with.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace kroton {

// The nearest identifier: ASCII letters, digits and single underscores, beginning with a letter or
// a digit. Empty where the text has neither.
std::string to_identifier(std::string_view text);

// Whether a name means something else wherever it stands: a keyword of C or C++ (any version), or a
// macro of their standard headers. Names of three or more capitals (with digits and underscores)
// count as macros: they are by convention, in the user's own headers too.
bool is_c_word(std::string_view name);

// Why a name cannot be that of a C and C++ function that is written ahead of time, and begin the
// names of what its header declares beside it, in a program that uses the C library: "it is a
// keyword of C or C++"; empty if it can.
std::string why_no_function(const std::string& name);
// The same for a parameter, or a member of a structure, in a header that uses <stdint.h>.
std::string why_no_parameter(const std::string& name);

// A name near the given one that can be that of a function.
std::string similar_function(const std::string& name);

// Names for the members of one C parameter list or structure: what the user wrote, where that is
// possible, else the nearest identifier; each once.
class CNames {
 public:
  explicit CNames(std::vector<std::string> taken) : taken_(std::move(taken)) {}
  std::string add(const std::string& wanted, const std::string& otherwise);

 private:
  std::vector<std::string> taken_;
};

// Text of the user's, made fit to stand in a /* comment */ of a header: no end or begin of a
// comment, no control characters, valid UTF-8 without marks that turn the direction of writing.
std::string in_c_comment(std::string_view text);

}  // namespace kroton
