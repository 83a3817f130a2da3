// Golden texts: what the code printed when someone last looked at it and agreed. They stand in the
// test, below the program that they are the text of, and are rewritten by
// `bash tests/run --update-golden`; the change then shows in the diff of the commit.
#pragma once
#include <source_location>
#include <string>

// Checks that `text` is `expected`, inside a doctest test case:
//
//   check_golden("softmax of rows", dump(softmax(x)), R"golden(
//   kernel k0 ...
//   )golden");
//
// `expected` begins with the end of a line, which does not count. Of `text`, golden_form is
// compared. Where the texts differ, the case fails with the first differing lines, old and new;
// while golden texts are rewritten, the one in the source below that name in quotes is replaced
// instead.
void check_golden(const std::string& name, const std::string& text, const std::string& expected,
                  const std::source_location& here = std::source_location::current());

// Whether golden texts are being rewritten.
bool is_updating_golden();
// Replaces the golden text of that name in the source that calls this.
void update_golden(const std::string& name, const std::string& text,
                   const std::source_location& here = std::source_location::current());

// The parts of it, for their own tests.
//
// The source with the golden text below `name` in quotes replaced. Throws std::runtime_error unless
// there is exactly one.
std::string with_golden(const std::string& source, const std::string& name,
                        const std::string& text);
// A text as it stands in a source: "test_x.cpp:51" is "line 2" if 50 is the first line that the
// text names, so that it may move; and lines of more than 100 columns are broken at spaces and go
// on further to the right.
std::string golden_form(const std::string& text);
// The report for texts that differ: the line number of the first difference, one line before it and
// up to five lines of each from there on, marked "-" (expected) and "+" (actual).
std::string golden_difference(const std::string& expected, const std::string& actual);
