#include <doctest/doctest.h>

#include <string>

#include "tests/golden.h"

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

TEST_CASE("golden: a text equal to its file passes") {
  check_golden("golden_itself", "The first line.\n\n  indented, and a blank line above\n");
}
