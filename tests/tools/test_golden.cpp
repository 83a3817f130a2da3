#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

#include "tests/tools/golden.h"

TEST_CASE("golden: the difference shows the first differing lines") {
  CHECK(golden_difference("a\nb\nc\n", "a\nx\nc\n") ==
        "line 2 differs (- expected, + actual):\n  a\n- b\n- c\n+ x\n+ c\n");
}

TEST_CASE("golden: the difference of texts of different length") {
  CHECK(golden_difference("", "a\n") ==
        "line 1 differs (- expected, + actual):\n- (the text ends here)\n+ a\n");
  CHECK(golden_difference("a\nb\n", "a\n") ==
        "line 2 differs (- expected, + actual):\n  a\n- b\n+ (the text ends here)\n");
  CHECK(golden_difference("", "1\n2\n3\n4\n5\n6\n7\n") ==
        "line 1 differs (- expected, + actual):\n- (the text ends here)\n"
        "+ 1\n+ 2\n+ 3\n+ 4\n+ 5\n+ ... 2 more lines\n");
}

TEST_CASE("golden: a missing newline at the end is a difference") {
  CHECK(golden_difference("a\n", "a") ==
        "line 1 differs (- expected, + actual):\n- a\n+ a  (no newline at the end)\n");
}

TEST_CASE("golden: a text equal to the one in the source passes") {
  check_golden("itself", "The first line.\n\n  indented, and a blank line above\n", R"golden(
The first line.

  indented, and a blank line above
)golden");
}

TEST_CASE("golden: lines too long for a source are broken") {
  const std::string words = "kernel " + std::string(50, 'a') + ", " + std::string(60, 'b');
  CHECK(golden_form("  " + words + " c\nd\n") ==
        "  kernel " + std::string(50, 'a') + ",\n          " + std::string(60, 'b') + " c\nd\n");
  const std::string word(120, 'a');
  CHECK(golden_form("  " + word + "\n") == "  " + word + "\n");
}

TEST_CASE("golden: lines of the test are counted from the first") {
  CHECK(golden_form("[test_a.cpp:52] [test_a.cpp:50]\n# test_a.cpp:51\n") ==
        "[line 3] [line 1]\n# line 2\n");
}

TEST_CASE("golden: the text below a name is the one that is replaced") {
  const std::string source =
      "check_golden(\"one\", dump(), R\"golden(\n1\n)golden\");\n"
      "check_golden(\"two\", dump(), R\"golden()golden\");\n";
  CHECK(with_golden(source, "two", "2\n") ==
        "check_golden(\"one\", dump(), R\"golden(\n1\n)golden\");\n"
        "check_golden(\"two\", dump(), R\"golden(\n2\n)golden\");\n");
  CHECK(with_golden(source, "one", "") ==
        "check_golden(\"one\", dump(), R\"golden(\n)golden\");\n"
        "check_golden(\"two\", dump(), R\"golden()golden\");\n");
  CHECK_THROWS_AS(with_golden(source, "three", ""), std::runtime_error);
  CHECK_THROWS_AS(with_golden(source + source, "one", ""), std::runtime_error);
}
