#include <kroton/array.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "runtime/storage.h"
#include "runtime/visit.h"

namespace kroton {

namespace {

constexpr std::int64_t summary_threshold = 1000;  // elements; more are summarised
constexpr std::int64_t edge = 3;                  // elements kept at each end of an axis
constexpr int max_fraction = 8;                   // digits after the point
constexpr std::size_t line_width = 75;

template <class T>
std::string digits(T value, std::chars_format format) {
  char buffer[512];  // the longest fixed double has 309 digits before the point
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr;
  return {buffer, end};
}

template <class T>
std::string digits(T value, std::chars_format format, int precision) {
  char buffer[512];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format, precision).ptr;
  return {buffer, end};
}

// A finite number in two parts that columns are aligned by: "-12." and "5", or "1." and "5" with
// the exponent "e-05".
struct Parts {
  std::string whole;
  std::string fraction;
  std::string exponent;
};

// The shortest digits that read back as the same number, rounded to max_fraction.
template <class T>
Parts split(T value, bool scientific) {
  const auto format = scientific ? std::chars_format::scientific : std::chars_format::fixed;
  const auto cut = [](const std::string& text) {
    const std::size_t e = std::min(text.find('e'), text.size());
    const std::size_t point = std::min(text.find('.'), e);
    return Parts{text.substr(0, point) + ".",
                 point < e ? text.substr(point + 1, e - point - 1) : std::string(), text.substr(e)};
  };
  Parts parts = cut(digits(value, format));
  if (parts.fraction.size() > max_fraction) {
    parts = cut(digits(value, format, max_fraction));
    parts.fraction.erase(parts.fraction.find_last_not_of('0') + 1);
  }
  return parts;
}

// Texts of equal meaning for all elements that are shown: one choice of notation, points aligned.
template <class T>
std::vector<std::string> format_floats(const std::vector<T>& values) {
  double largest = 0;
  double smallest = std::numeric_limits<double>::infinity();
  for (const T value : values) {
    const double magnitude = std::fabs(static_cast<double>(value));
    if (std::isfinite(magnitude) && magnitude != 0) {
      largest = std::max(largest, magnitude);
      smallest = std::min(smallest, magnitude);
    }
  }
  const bool scientific =
      largest != 0 && (largest >= 1e8 || smallest < 1e-4 || largest / smallest > 1000);

  std::vector<Parts> parts;
  std::size_t fraction = 0;
  for (const T value : values) {
    if (std::isfinite(value)) {
      parts.push_back(split(value, scientific));
      fraction = std::max(fraction, parts.back().fraction.size());
    } else {
      parts.push_back({std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf", "", ""});
    }
  }
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < values.size(); ++i) {
    Parts& p = parts[i];
    if (std::isfinite(values[i])) {
      p.fraction.resize(fraction, scientific ? '0' : ' ');
    }
    texts.push_back(p.whole + p.fraction + p.exponent);
  }
  return texts;
}

// Of what a float of 16 bits is, the fewest digits that tell it from its neighbours, as a double
// has them.
template <class T>
double shortest(T value) {
  const float exact = value;
  if (!std::isfinite(exact)) return exact;
  for (int precision = 1;; ++precision) {
    char buffer[32];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, exact,
                                   std::chars_format::scientific, precision - 1)
                         .ptr;
    double read = 0;
    std::from_chars(buffer, end, read);
    if (precision == 9 || T(read).bits() == value.bits()) return read;
  }
}

template <class T>
std::vector<std::string> format_all(const std::vector<T>& values) {
  if constexpr (std::is_floating_point_v<T>) {
    return format_floats(values);
  } else if constexpr (is_floating_element<T>) {
    std::vector<double> reals;
    for (const T value : values) reals.push_back(shortest(value));
    return format_floats(reals);
  } else {
    std::vector<std::string> texts;
    for (const T value : values) {
      if constexpr (std::same_as<T, bool>) {
        texts.emplace_back(value ? "true" : "false");
      } else {
        texts.push_back(std::to_string(value));
      }
    }
    return texts;
  }
}

// Writes one array: collect() and write() walk the elements that are shown in the same order.
class Printer {
 public:
  explicit Printer(const Array& array)
      : array_(array.contiguous()),
        shape_(array.shape()),
        strides_(array_.strides()),
        summarised_(array.size() > summary_threshold) {}

  std::string print() {
    if (array_.size() == 0) {
      return "[]";
    }
    texts_ = visit_dtype(array_.dtype(), [&]<class T>(std::type_identity<T>) {
      std::vector<T> values;
      collect(std::as_const(array_).data<T>().data(), 0, values);
      return format_all(values);
    });
    if (shape_.rank() == 0) {
      return texts_[0].ends_with('.') ? texts_[0] + "0" : texts_[0];
    }
    for (const std::string& text : texts_) {
      width_ = std::max(width_, text.size());
    }
    write(0);
    return std::move(out_);
  }

 private:
  // Calls `element` with each index shown along an axis, and `gap` where some are left out.
  template <class Element, class Gap>
  void each(int axis, Element element, Gap gap) {
    const std::int64_t extent = shape_[axis];
    const bool shortened = summarised_ && extent > 2 * edge;
    for (std::int64_t i = 0; i < extent; ++i) {
      if (shortened && i == edge) {
        gap();
        i = extent - edge;
      }
      element(i);
    }
  }

  template <class T>
  void collect(const T* elements, int axis, std::vector<T>& values) {
    if (axis == shape_.rank()) {
      values.push_back(*elements);
      return;
    }
    each(
        axis, [&](std::int64_t i) { collect(elements + i * strides_[axis], axis + 1, values); },
        [] {});
  }

  void write(int axis) {
    const bool innermost = axis == shape_.rank() - 1;
    const std::string indent(static_cast<std::size_t>(axis) + 1, ' ');
    bool first = true;
    std::size_t column = indent.size();
    const auto separate = [&](std::size_t width) {
      if (innermost) {
        if (!first && column + 1 + width > line_width) {
          out_ += "\n" + indent;
          column = indent.size();
        } else if (!first) {
          out_ += " ";
          ++column;
        }
        column += width;
      } else if (!first) {
        out_.append(static_cast<std::size_t>(shape_.rank() - 1 - axis), '\n');
        out_ += indent;
      }
      first = false;
    };
    out_ += "[";
    each(
        axis,
        [&](std::int64_t) {
          separate(width_);
          if (innermost) {
            out_.append(width_ - texts_[next_].size(), ' ');
            out_ += texts_[next_++];
          } else {
            write(axis + 1);
          }
        },
        [&] {
          separate(3);
          out_ += "...";
        });
    out_ += "]";
  }

  Array array_;
  Shape shape_;
  Shape strides_;
  bool summarised_;
  std::vector<std::string> texts_;
  std::size_t next_ = 0;
  std::size_t width_ = 0;
  std::string out_;
};

}  // namespace

std::string to_string(const Array& array) {
  if (array.is_on_device()) {
    return std::string(name_of(array.dtype())) + " " + to_string(array.shape()) + " on " +
           detail::place_of(array);
  }
  return Printer(array).print();
}

std::ostream& operator<<(std::ostream& stream, const Array& array) {
  return stream << to_string(array);
}

}  // namespace kroton
