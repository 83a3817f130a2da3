// docs/operations.md says what the headers and the records say.
#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

#include "tests/docs/operations_page.h"
#include "tests/tools/golden.h"
#include "tests/tools/places.h"

TEST_CASE("golden: the page of all operations") {
  const std::string path = places::source_dir() + "/docs/operations.md";
  const std::string page = operations_page();
  if (is_updating_golden()) {
    std::ofstream(path) << page;
    return;
  }
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  INFO(golden_difference(text.str(), page), "\nbash tests/run --update-golden writes it");
  const bool is_current = text.str() == page;  // not the two texts in the report
  CHECK(is_current);
}

TEST_CASE("operations: each record says what it is") {
  // The table of records is the last; its second column is the comment above a record.
  const std::string page = operations_page();
  std::istringstream rows(page.substr(page.find("\n## Records")));
  int count = 0;
  for (std::string row; std::getline(rows, row);) {
    if (!row.starts_with("| `")) continue;
    ++count;
    CAPTURE(row);
    CHECK(row.find("` |  |") == std::string::npos);
  }
  CHECK(count > 80);
}
