#include <kroton/csv.h>
#include <kroton/error.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include "frontend/data/csv_rows.h"
#include "frontend/data/names.h"
#include "frontend/train/files.h"

namespace kroton::data {

namespace {

using files::shown;

template <class T>
std::string digits(T value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

// A number as a text for messages and lists of distinct values.
std::string shown_number(std::int64_t value) { return digits(value); }
std::string shown_number(double value) { return digits(value); }

[[noreturn]] void fail_range(const Column& column, std::int64_t row) {
  throw ValueError("column " + shown(column.name()) + ": row " + std::to_string(row) +
                   " is out of range for " + std::to_string(column.size()) + " rows");
}

[[noreturn]] void fail_type(const Column& column, const char* expected) {
  constexpr const char* names[] = {"i64", "f64", "text"};
  throw TypeError("column " + shown(column.name()) + ": expected " + expected + ", got " +
                  names[static_cast<int>(column.type())]);
}

[[noreturn]] void fail_text(const std::string& function, const Column& column) {
  std::string message = function + ": column " + shown(column.name()) + " is text";
  for (std::int64_t row = 0; row < column.size(); ++row) {
    if (column.is_missing(row) || parse_real(column.text(row))) continue;
    throw TypeError(message + ": row " + std::to_string(row) + " is " + shown(column.text(row)));
  }
  throw TypeError(message);
}

// Writes values at every `stride`-th element. `T` holds any of the values, or they are checked.
template <class T, class Value>
void write_values(std::span<const Value> values, T* to, std::int64_t stride, const Column& column) {
  for (std::size_t row = 0; row < values.size(); ++row, to += stride) {
    const Value value = values[row];
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, Value>) {
      bool fits = false;
      if constexpr (std::is_integral_v<Value>) {
        fits = holds(dtype_of<T>, value);
      } else {
        // The bound is a power of two, a double for any T.
        const double bound = std::ldexp(1.0, std::numeric_limits<T>::digits);
        const double lowest = std::is_signed_v<T> ? -bound : 0;
        fits = value >= lowest && value < bound && std::trunc(value) == value;
      }
      if (!fits) {
        throw ValueError("matrix: column " + shown(column.name()) + ": row " + std::to_string(row) +
                         " is " + shown_number(value) + ", which " +
                         std::string(kroton::name_of(dtype_of<T>)) + " does not hold");
      }
    }
    *to = static_cast<T>(value);
  }
}

template <class T>
void write_column(const Column& column, T* to, std::int64_t stride) {
  if (column.type() == ColumnType::i64) {
    write_values(column.i64_values(), to, stride, column);
  } else {
    write_values(column.f64_values(), to, stride, column);
  }
}

// The distinct values that are there, sorted.
template <class T>
std::vector<T> distinct(std::vector<T> values) {
  if constexpr (std::is_floating_point_v<T>) {
    std::erase_if(values, [](T value) { return std::isnan(value); });
  }
  std::ranges::sort(values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

// The position of every value in a sorted list, of one that has none, -1.
template <class T>
std::int64_t position(const std::vector<T>& sorted, T value) {
  const auto at = std::ranges::lower_bound(sorted, value);
  return at == sorted.end() || *at != value ? -1 : at - sorted.begin();
}

template <class T>
Codes codes_of_numbers(std::span<const T> values) {
  const std::vector<T> sorted = distinct(std::vector<T>(values.begin(), values.end()));
  Codes result{Array::empty({static_cast<std::int64_t>(values.size())}, i64), {}};
  std::int64_t* code = result.codes.data<std::int64_t>().data();
  for (const T value : values) *code++ = value == value ? position(sorted, value) : -1;
  for (const T value : sorted) result.values.push_back(shown_number(value));
  return result;
}

Codes codes_of_texts(const Column& column) {
  std::vector<std::string_view> texts;
  for (std::int64_t row = 0; row < column.size(); ++row) {
    if (!column.is_missing(row)) texts.push_back(column.text(row));
  }
  const std::vector<std::string_view> sorted = distinct(std::move(texts));
  Codes result{Array::empty({column.size()}, i64), {sorted.begin(), sorted.end()}};
  std::int64_t* code = result.codes.data<std::int64_t>().data();
  for (std::int64_t row = 0; row < column.size(); ++row) {
    *code++ = column.is_missing(row) ? -1 : position(sorted, column.text(row));
  }
  return result;
}

}  // namespace

std::int64_t Column::size() const {
  if (const auto* texts = std::get_if<Texts>(&values_)) {
    return static_cast<std::int64_t>(texts->ends.size());
  }
  return static_cast<std::int64_t>(type() == ColumnType::i64 ? std::get<0>(values_).size()
                                                             : std::get<1>(values_).size());
}

bool Column::is_missing(std::int64_t row) const {
  if (row < 0 || row >= size()) fail_range(*this, row);
  const auto k = static_cast<std::size_t>(row);
  if (const auto* texts = std::get_if<Texts>(&values_)) return texts->ends[k] < 0;
  return type() == ColumnType::f64 && std::isnan(std::get<1>(values_)[k]);
}

std::int64_t Column::missing() const {
  std::int64_t count = 0;
  for (std::int64_t row = 0; row < size(); ++row) count += is_missing(row) ? 1 : 0;
  return count;
}

std::span<const std::int64_t> Column::i64_values() const {
  if (type() != ColumnType::i64) fail_type(*this, "i64");
  return std::get<0>(values_);
}

std::span<const double> Column::f64_values() const {
  if (type() != ColumnType::f64) fail_type(*this, "f64");
  return std::get<1>(values_);
}

std::string_view Column::text(std::int64_t row) const {
  const auto* texts = std::get_if<Texts>(&values_);
  if (texts == nullptr) fail_type(*this, "text");
  if (row < 0 || row >= size()) fail_range(*this, row);
  const auto end_of = [&](std::int64_t k) {
    const std::int64_t end = texts->ends[static_cast<std::size_t>(k)];
    return static_cast<std::size_t>(end < 0 ? ~end : end);
  };
  const std::size_t start = row == 0 ? 0 : end_of(row - 1);
  return std::string_view(texts->bytes).substr(start, end_of(row) - start);
}

std::vector<std::string> Column::texts() const {
  if (type() != ColumnType::text) fail_type(*this, "text");
  std::vector<std::string> all;
  all.reserve(static_cast<std::size_t>(size()));
  for (std::int64_t row = 0; row < size(); ++row) all.emplace_back(text(row));
  return all;
}

std::vector<std::string> Table::names() const {
  std::vector<std::string> names;
  for (const Column& column : columns_) names.push_back(column.name());
  return names;
}

bool Table::has(std::string_view name) const { return index_.contains(name); }

const Column& Table::column(std::string_view name) const {
  const auto at = index_.find(name);
  if (at == index_.end()) throw ValueError("Table: " + no_such_name("column", name, names()));
  return columns_[at->second];
}

const Column& Table::column(std::int64_t index) const {
  if (index < 0 || index >= columns()) {
    throw ValueError("Table: column " + std::to_string(index) + " is out of range for " +
                     std::to_string(columns()) + " columns");
  }
  return columns_[static_cast<std::size_t>(index)];
}

Array Table::number(std::string_view name) const {
  const Column& from = column(name);
  if (from.type() == ColumnType::text) fail_text("number", from);
  if (from.type() == ColumnType::i64) return Array::from(from.i64_values());
  return Array::from(from.f64_values());
}

Array Table::matrix(const std::vector<std::string>& names, DType dtype) const {
  if (dtype == boolean) throw TypeError("matrix: expected a dtype of numbers, got boolean");
  const auto count = static_cast<std::int64_t>(names.size());
  Array result = Array::empty({rows_, count}, dtype);
  for (std::int64_t k = 0; k < count; ++k) {
    const Column& from = column(names[static_cast<std::size_t>(k)]);
    if (from.type() == ColumnType::text) fail_text("matrix", from);
    switch (dtype) {
#define KROTON_DTYPE(name, type, ...)                                \
  case DType::name:                                                  \
    write_column(from, static_cast<type*>(result.raw()) + k, count); \
    break;
      KROTON_DTYPES(KROTON_DTYPE)
#undef KROTON_DTYPE
    }
  }
  return result;
}

Codes Table::codes(std::string_view name) const {
  const Column& from = column(name);
  if (from.type() == ColumnType::i64) return codes_of_numbers(from.i64_values());
  if (from.type() == ColumnType::f64) return codes_of_numbers(from.f64_values());
  return codes_of_texts(from);
}

Array Table::codes(std::string_view name, const std::vector<std::string>& values) const {
  Codes found = codes(name);
  std::map<std::string_view, std::int64_t> places;
  for (std::size_t k = 0; k < values.size(); ++k) {
    if (!places.emplace(values[k], static_cast<std::int64_t>(k)).second) {
      throw ValueError("codes: " + shown(values[k]) + " is listed twice");
    }
  }
  std::vector<std::int64_t> place_of;  // -1: not among the values
  for (const std::string& value : found.values) {
    const auto at = places.find(value);
    place_of.push_back(at == places.end() ? -1 : at->second);
  }
  std::int64_t row = 0;
  for (std::int64_t& code : found.codes.data<std::int64_t>()) {
    if (code >= 0) {
      const auto k = static_cast<std::size_t>(code);
      if (place_of[k] < 0) {
        throw ValueError("codes: column " + shown(name) + ": row " + std::to_string(row) + ": " +
                         no_such_name("value", found.values[k], values));
      }
      code = place_of[k];
    }
    ++row;
  }
  return found.codes;
}

Table& Table::add(std::string name, const Array& values) {
  if (values.rank() != 1) {
    throw ShapeError("Table::add: column " + shown(name) + ": expected an array (rows), got " +
                     to_string(values.shape()));
  }
  Column column;
  column.name_ = std::move(name);
  const bool is_real = is_float(values.dtype());
  const Array all = values.cast(is_real ? f64 : i64).contiguous();
  if (is_real) {
    const auto from = all.data<double>();
    column.values_ = std::vector<double>(from.begin(), from.end());
  } else {
    const auto from = all.data<std::int64_t>();
    column.values_ = std::vector<std::int64_t>(from.begin(), from.end());
  }
  return add(std::move(column));
}

Table& Table::add(std::string name, const std::vector<std::string>& texts) {
  Column column;
  column.name_ = std::move(name);
  Column::Texts all;
  for (const std::string& text : texts) {
    all.bytes += text;
    all.ends.push_back(static_cast<std::int64_t>(all.bytes.size()));
  }
  column.values_ = std::move(all);
  return add(std::move(column));
}

Table& Table::add(Column column) {
  if (!columns_.empty() && column.size() != rows_) {
    throw ShapeError("Table::add: column " + shown(column.name()) + " has " +
                     std::to_string(column.size()) + " rows, the table " + std::to_string(rows_));
  }
  if (!index_.emplace(column.name(), columns_.size()).second) {
    throw ValueError("Table::add: there is a column " + shown(column.name()) + " already");
  }
  rows_ = column.size();
  columns_.push_back(std::move(column));
  return *this;
}

std::ostream& operator<<(std::ostream& stream, const Table& table) {
  constexpr const char* types[] = {"i64", "f64", "text"};
  constexpr std::int64_t most = 3;
  stream << table.rows() << " rows, " << table.columns() << " columns";
  for (std::int64_t k = 0; k < table.columns(); ++k) {
    const Column& column = table.column(k);
    stream << "\n  " << shown(column.name()) << " " << types[static_cast<int>(column.type())];
    if (const std::int64_t missing = column.missing(); missing > 0) {
      stream << ", " << missing << " missing";
    }
    for (std::int64_t row = 0; row < std::min(most, column.size()); ++row) {
      stream << (row == 0 ? ": " : ", ");
      const auto index = static_cast<std::size_t>(row);
      if (column.is_missing(row)) {
        stream << "missing";
      } else if (column.type() == ColumnType::i64) {
        stream << shown_number(column.i64_values()[index]);
      } else if (column.type() == ColumnType::f64) {
        stream << shown_number(column.f64_values()[index]);
      } else {
        stream << shown(column.text(row));
      }
    }
    if (column.size() > most) stream << ", ...";
  }
  return stream;
}

}  // namespace kroton::data
