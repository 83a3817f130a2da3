// What an error says, for tests that compare its text.
#pragma once
#include <kroton/error.h>

#include <string>

namespace error_text {

// The text with places in the tests as "[here]".
std::string without_places(const std::string& text);

// The message of the error that `body` throws, with places in the tests as "[here]".
template <class Error, class Body>
std::string message_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return without_places(error.what());
  }
  return "no error";
}
template <class Body>
std::string value_error(const Body& body) {
  return message_of<kroton::ValueError>(body);
}
template <class Body>
std::string type_error(const Body& body) {
  return message_of<kroton::TypeError>(body);
}
template <class Body>
std::string shape_error(const Body& body) {
  return message_of<kroton::ShapeError>(body);
}

template <class Body>
std::string device_error(const Body& body) {
  return message_of<kroton::DeviceError>(body);
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace error_text
