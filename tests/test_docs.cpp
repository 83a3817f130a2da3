// What the documents say that can be checked: their links, the table of passes, and the code that
// they quote.
#include <doctest/doctest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "compiler/passes/passes.h"
#include "tests/tools/places.h"

namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

fs::path root() { return places::source_dir(); }

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string without_spaces(std::string text) {
  std::erase_if(text, [](unsigned char c) { return std::isspace(c) != 0; });
  return text;
}

// The blocks of C++ in a document.
std::vector<std::string> code_blocks(const std::string& document) {
  std::vector<std::string> blocks;
  bool inside = false;
  for (const std::string& line : lines_of(document)) {
    if (!inside && line == "```cpp") {
      inside = true;
      blocks.emplace_back();
    } else if (inside && line == "```") {
      inside = false;
    } else if (inside) {
      blocks.back() += line + '\n';
    }
  }
  return blocks;
}

}  // namespace

TEST_CASE("docs: every link leads to a file") {
  std::vector<fs::path> documents = {root() / "README.md"};
  for (const auto& entry : fs::recursive_directory_iterator(root() / "docs")) {
    if (entry.path().extension() == ".md") documents.push_back(entry.path());
  }
  int links = 0;
  for (const fs::path& document : documents) {
    const std::string text = text_of(document);
    static const std::regex link(R"(\]\(([^)#\s]+)(#[^)]*)?\))");
    for (std::sregex_iterator at(text.begin(), text.end(), link), end; at != end; ++at) {
      const std::string target = (*at)[1];
      if (target.find("://") != std::string::npos) continue;
      ++links;
      const bool is_there = fs::exists(document.parent_path() / target);
      CHECK_MESSAGE(is_there, document.string(), " links to ", target);
    }
  }
  CHECK(links > 100);
}

TEST_CASE("docs: nothing else is at the top") {
  const std::set<std::string> expected = {"compiler",       "docs",    "examples",
                                          "frontend",       "runtime", "tests",
                                          "CMakeLists.txt", "LICENSE", "README.md"};
  std::set<std::string> found;
  for (const auto& entry : fs::directory_iterator(root())) {
    const std::string name = entry.path().filename().string();
    // What is built and what is hidden is nobody's to read.
    if (!name.starts_with('.') && !name.starts_with("build")) found.insert(name);
  }
  CHECK(found == expected);
}

TEST_CASE("docs: the table of passes is the list of passes") {
  std::vector<std::string> rows;
  for (const std::string& line : lines_of(text_of(root() / "docs/pipeline.md"))) {
    static const std::regex row(R"(\| `(\w+)` \| [^|]*\| ([^|]+) \|)");
    std::smatch match;
    if (!std::regex_match(line, match, row)) continue;
    std::string reason = match[2];
    std::erase(reason, '`');
    rows.push_back(match[1].str() + ": " + reason);
  }
  std::vector<std::string> passes;
  for (const kroton::Pass& pass : kroton::all_passes()) {
    passes.push_back(std::string(pass.name) + ": " + pass.reason);
  }
  REQUIRE(rows.size() == passes.size());
  for (std::size_t k = 0; k < rows.size(); ++k) CHECK(rows[k] == passes[k]);
}

TEST_CASE("docs: the record that the document on ops shows is that of the source") {
  std::string sources;
  for (const auto& entry : fs::directory_iterator(root() / "compiler/ops")) {
    sources += without_spaces(text_of(entry.path()));
  }
  int shown = 0;
  for (const std::string& block : code_blocks(text_of(root() / "docs/add_an_op.md"))) {
    // The op that is added there is made up.
    if (!block.starts_with("constinit") || block.find("rsqrt") != std::string::npos) continue;
    ++shown;
    const bool is_quoted = sources.find(without_spaces(block)) != std::string::npos;
    CHECK_MESSAGE(is_quoted, "in no source:\n", block);
  }
  CHECK(shown == 1);
}
