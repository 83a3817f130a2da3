#include "tests/tools/error_text.h"

#include <regex>

namespace error_text {

std::string without_places(const std::string& text) {
  static const std::regex place(R"(\[test_\w+\.cpp:\d+\])");
  return std::regex_replace(text, place, "[here]");
}

}  // namespace error_text
