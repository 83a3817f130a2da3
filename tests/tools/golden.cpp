#include "tests/tools/golden.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/tools/places.h"

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

// Lines of tests, counted from the first that the text names.
std::string relative_lines(const std::string& text) {
  static const std::regex place(R"(test_\w+\.cpp:(\d+))");
  const std::sregex_iterator begin(text.begin(), text.end(), place), end;
  int first = std::numeric_limits<int>::max();
  for (auto at = begin; at != end; ++at) first = std::min(first, std::stoi((*at)[1]));
  std::string result;
  auto from = text.begin();
  for (auto at = begin; at != end; ++at) {
    result.append(from, (*at)[0].first);
    result += "line " + std::to_string(std::stoi((*at)[1]) - first + 1);
    from = (*at)[0].second;
  }
  return result.append(from, text.end());
}

// Lines of at most 100 columns.
std::string broken_lines(const std::string& text) {
  constexpr std::size_t columns = 100, further = 8;
  std::string result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t indent = line.find_first_not_of(' ');
    while (line.size() > columns) {
      const std::size_t space = line.rfind(' ', columns);
      if (space == std::string::npos || space <= indent + further) break;
      result += line.substr(0, space) + '\n';
      line = std::string(indent + further, ' ') + line.substr(space + 1);
    }
    result += line + '\n';
  }
  return result;
}

}  // namespace

std::string golden_form(const std::string& text) { return broken_lines(relative_lines(text)); }

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

std::string with_golden(const std::string& source, const std::string& name,
                        const std::string& text) {
  const std::string quoted = '"' + name + '"', opening = "R\"golden(", closing = ")golden\"";
  const std::size_t at = source.find(quoted);
  if (at == std::string::npos || source.find(quoted, at + 1) != std::string::npos) {
    throw std::runtime_error("expected " + quoted + " once in the source of its golden text");
  }
  const std::size_t begin = source.find(opening, at);
  const std::size_t end = source.find(closing, at);
  if (begin == std::string::npos || end == std::string::npos || end < begin) {
    throw std::runtime_error("expected " + opening + "..." + closing + " below " + quoted);
  }
  return source.substr(0, begin) + opening + '\n' + text + source.substr(end);
}

bool is_updating_golden() { return std::getenv("KROTON_UPDATE_GOLDEN") != nullptr; }

void update_golden(const std::string& name, const std::string& text,
                   const std::source_location& here) {
  // The compiler may have been given the file by a path from elsewhere.
  const std::string file_name = here.file_name();
  const std::filesystem::path path =
      places::source_dir() + '/' + file_name.substr(file_name.rfind("tests/"));
  std::ifstream file(path, std::ios::binary);
  const std::string source{std::istreambuf_iterator<char>(file), {}};
  REQUIRE_MESSAGE(!source.empty(), path.string());
  std::ofstream(path, std::ios::binary) << with_golden(source, name, golden_form(text));
}

void check_golden(const std::string& name, const std::string& text, const std::string& expected,
                  const std::source_location& here) {
  if (is_updating_golden()) return update_golden(name, text, here);
  const std::string before = expected.substr(std::min<std::size_t>(expected.size(), 1));
  const std::string now = golden_form(text);
  if (before != now) {
    FAIL_CHECK("golden text \"", name, "\", ", golden_difference(before, now),
               "if the new output is right: bash tests/run --update-golden");
  }
}
