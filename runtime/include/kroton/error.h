#pragma once

#include <stdexcept>
#include <string>

namespace kroton {

/// What went wrong, in one word. Every error that Kroton throws carries one.
enum class ErrorKind {
  shape,       ///< sizes or ranks that do not fit together
  type,        ///< a dtype that an operation does not take
  value,       ///< an argument outside its range
  device,      ///< a processor or a driver that is missing or fails
  io,          ///< a file that is missing, damaged or not what it says
  internal,    ///< a mistake in Kroton itself
  external,    ///< a function of the user's own that has reported an error
  not_finite,  ///< a result that is NaN or infinite, where that is checked
};

/// The base of all errors that Kroton throws. what() names the operation, what it expected and
/// what it got.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}

  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

/// Sizes or ranks that do not fit together.
class ShapeError : public Error {
 public:
  explicit ShapeError(const std::string& message) : Error(ErrorKind::shape, message) {}
};

/// A dtype that an operation does not take.
class TypeError : public Error {
 public:
  explicit TypeError(const std::string& message) : Error(ErrorKind::type, message) {}
};

/// An argument outside its range.
class ValueError : public Error {
 public:
  explicit ValueError(const std::string& message) : Error(ErrorKind::value, message) {}
};

/// A processor or a driver that is missing or fails.
class DeviceError : public Error {
 public:
  explicit DeviceError(const std::string& message) : Error(ErrorKind::device, message) {}
};

/// A file that is missing, damaged or not what it says. The message names file and offset.
class IoError : public Error {
 public:
  explicit IoError(const std::string& message) : Error(ErrorKind::io, message) {}
};

/// A function of the user's own (kt::ExternalOp) has returned a number other than 0, which the
/// message names.
class ExternalError : public Error {
 public:
  explicit ExternalError(const std::string& message) : Error(ErrorKind::external, message) {}
};

/// A mistake in Kroton itself; the message carries the internal representation at fault.
class InternalError : public Error {
 public:
  explicit InternalError(const std::string& message) : Error(ErrorKind::internal, message) {}
};

/// A result that is NaN or infinite though its operands are not: what a function compiled with
/// KROTON_CHECK reports. The message names the operation, the element and the user's line.
class NotFiniteError : public Error {
 public:
  explicit NotFiniteError(const std::string& message) : Error(ErrorKind::not_finite, message) {}
};

}  // namespace kroton
