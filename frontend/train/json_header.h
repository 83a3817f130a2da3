// The JSON of a safetensors header: as much of the language as it consists of, and no more, so that
// nothing nests deeper than it does. Source: https://www.rfc-editor.org/rfc/rfc8259
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace kroton::files {

class JsonReader {
 public:
  // Throws, for a position in the text.
  using Fail = std::function<void(std::size_t, const std::string&)>;
  JsonReader(std::string_view text, Fail fail) : text_(text), fail_(std::move(fail)) {}

  // What messages begin with from now on: whose value is read.
  void set_context(std::string context) { context_ = std::move(context); }

  // Where the next token begins, white space left out.
  std::size_t position();
  // What follows is not as expected: "expected the dtype, got '['".
  [[noreturn]] void fail_expected(const std::string& what);
  [[noreturn]] void fail(std::size_t position, const std::string& message);

  // Each reads one token, or fails and says what was expected.
  void expect(char token, const std::string& what);
  bool next_is(char token);
  std::string string(const std::string& what);
  std::uint64_t whole_number(const std::string& what);  // below 2^63
  void expect_end();

  // {"key": ..., ...}: calls `member` after the colon of each, with its key and the key's position.
  void object(const std::string& what,
              const std::function<void(const std::string&, std::size_t)>& member);
  // [..., ...]: calls `element` at each.
  void list(const std::string& what, const std::function<void()>& element);

 private:
  void escape(std::string& to);
  std::uint32_t hexadecimal();

  std::string_view text_;
  Fail fail_;
  std::size_t at_ = 0;
  std::string context_;
};

// A JSON string in quotes, of well-formed UTF-8.
std::string json_string(std::string_view text);

}  // namespace kroton::files
