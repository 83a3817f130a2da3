#pragma once

#include <string>

// Golden texts: what the code printed when someone last looked at it and agreed. They live in
// tests/golden/NAME.txt and are rewritten by `bash tests/run --update-golden`; the change then
// shows in the diff of the commit.

// True when the program was started with --update-golden.
bool kroton_tests_update_golden();

// Compares `text` with tests/golden/`name`.txt inside a doctest test case. Where they differ, or
// the file does not exist, the case fails with the first differing lines, old and new. With
// --update-golden the file is written instead. `name` may contain slashes.
void check_golden(const std::string& name, const std::string& text);

// The report for texts that differ: the line number of the first difference, one line before it and
// up to five lines of each from there on, marked "-" (expected) and "+" (actual).
std::string golden_difference(const std::string& expected, const std::string& actual);
