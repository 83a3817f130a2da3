#include "tests/golden.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

// Splits at '\n'. A text that ends without one differs in its last line from one that ends with it.
std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) {
      lines.push_back(text.substr(begin) + "  (no newline at the end)");
      break;
    }
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

std::string golden_difference(const std::string& expected, const std::string& actual) {
  constexpr size_t shown = 5;
  const auto old_lines = split_lines(expected);
  const auto new_lines = split_lines(actual);
  size_t first = 0;
  while (first < old_lines.size() && first < new_lines.size() &&
         old_lines[first] == new_lines[first]) {
    ++first;
  }

  std::ostringstream out;
  out << "line " << first + 1 << " differs (- expected, + actual):\n";
  if (first > 0) out << "  " << old_lines[first - 1] << '\n';
  auto show = [&](char mark, const std::vector<std::string>& lines) {
    const size_t last = std::min(lines.size(), first + shown);
    for (size_t i = first; i < last; ++i) out << mark << ' ' << lines[i] << '\n';
    if (last < lines.size()) out << mark << " ... " << lines.size() - last << " more lines\n";
    if (first >= lines.size()) out << mark << " (the text ends here)\n";
  };
  show('-', old_lines);
  show('+', new_lines);
  return out.str();
}

void check_golden(const std::string& name, const std::string& text) {
  const std::filesystem::path path = std::string(KROTON_GOLDEN_DIR "/") + name + ".txt";
  if (kroton_tests_update_golden()) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    FAIL_CHECK("golden text ", path.string(),
               " does not exist; if this output is right, write it with"
               " `bash tests/run --update-golden`:\n",
               text);
    return;
  }
  std::ostringstream expected;
  expected << file.rdbuf();
  if (expected.str() != text) {
    FAIL_CHECK("golden text ", path.string(), ", ", golden_difference(expected.str(), text),
               "if the new output is right: bash tests/run --update-golden");
  }
}
