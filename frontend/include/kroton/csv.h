// Tables in text files: a line a row, fields between separators.
//
//     kt::data::Table iris = kt::data::read_csv("iris.csv");
//     kt::Array x = iris.matrix({"length", "width"});
//     auto [labels, species] = iris.codes("species");
#pragma once
#include <kroton/array.h>
#include <kroton/dtype.h>

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <iosfwd>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kroton::data {

enum class ColumnType { i64, f64, text };

// A column of a table: its name, and a value for each row.
class Column {
 public:
  const std::string& name() const { return name_; }
  ColumnType type() const { return static_cast<ColumnType>(values_.index()); }
  std::int64_t size() const;

  // Whether that row has no value: NaN among numbers of f64, an empty text; never in i64.
  // ValueError for a row that is not there.
  bool is_missing(std::int64_t row) const;
  std::int64_t missing() const;  // how many rows have none

  // The values. TypeError unless the column is of that type.
  std::span<const std::int64_t> i64_values() const;
  std::span<const double> f64_values() const;
  // Of one row, valid while the column lives; ValueError for one that is not there.
  std::string_view text(std::int64_t row) const;
  std::vector<std::string> texts() const;

 private:
  friend class Table;
  friend class TableBuilder;
  // Texts one after the other. Where each ends, or ~end where it is missing.
  struct Texts {
    std::string bytes;
    std::vector<std::int64_t> ends;
  };
  std::string name_;
  std::variant<std::vector<std::int64_t>, std::vector<double>, Texts> values_;
};

// Numbers in place of texts, for embeddings and as labels.
struct Codes {
  Array codes;                      // i64 (rows): positions in `values`; -1 where missing
  std::vector<std::string> values;  // the distinct ones, sorted
};

// Columns of one length. Functions that take a column's name throw a ValueError with the names that
// there are for another one.
class Table {
 public:
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return static_cast<std::int64_t>(columns_.size()); }
  std::vector<std::string> names() const;  // in the order of the file
  bool has(std::string_view name) const;
  const Column& column(std::string_view name) const;
  const Column& column(std::int64_t index) const;  // ValueError unless 0 <= index < columns()

  // A column as an array (rows), i64 or f64. TypeError for texts, with the first one.
  Array number(std::string_view name) const;
  // Columns beside each other, (rows, columns), in any dtype but boolean; NaN where a value is
  // missing. TypeError for texts; ValueError for a value that an integer dtype does not hold: NaN,
  // and numbers with a fraction or out of range.
  Array matrix(const std::vector<std::string>& names, DType dtype = f32) const;
  // Distinct values by number. Numbers are sorted as such, texts by their bytes.
  Codes codes(std::string_view name) const;
  // The same by given values, those of another table: ValueError for a value that is not among
  // them, with its row, and for one that is listed twice.
  Array codes(std::string_view name, const std::vector<std::string>& values) const;

  // Appends a column: an array (rows) of integers or booleans becomes i64, of f32 or f64 f64.
  // ShapeError for another length than that of the columns there are, ValueError for a name that
  // one of them has.
  Table& add(std::string name, const Array& values);
  Table& add(std::string name, const std::vector<std::string>& texts);

 private:
  friend class TableBuilder;
  Table& add(Column column);
  std::vector<Column> columns_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::int64_t rows_ = 0;
};

// Names, types, missing values, and the first rows.
std::ostream& operator<<(std::ostream& stream, const Table& table);

struct CsvOptions {
  // ' ': any blanks in a row, but not those at both ends of a line.
  char separator = ',';
  bool header = true;  // the first row has the names; else they are column0, column1, ...
  // '\0': quotes are characters like others.
  char quote = '"';
  // Fields that stand for no value.
  std::vector<std::string> missing = {"", "NA", "N/A", "NaN", "nan", "NULL", "null"};
  // Columns, by name, whose type is not to be found from their values.
  std::map<std::string, ColumnType> columns = {};
  // The columns' names, in place of those of the header.
  std::vector<std::string> names = {};
  std::int64_t skip_rows = 0;  // lines before the header that are left out
  char comment = '\0';         // lines that begin with it are left out
  bool trim = false;           // blanks around texts, and outside of quotes, are left out
};

// Reads a table from a file in UTF-8 (which is not checked), gzipped or not, with or without a byte
// order mark.
//
// Fields are as in RFC 4180: in quotes a field may have separators, line breaks, and quotes, which
// are doubled. Lines end in LF, CRLF or CR, the last one or not; empty ones are left out. A quote
// inside of a field that does not begin with one is a character.
//
// A column whose values are all whole numbers within 64 bits is i64, one of numbers f64, another
// one text. Blanks around numbers do not count; quotes around them do not either. f64 are the
// nearest to what is written (beyond the largest infinity), whatever the locale; "inf", "infinity"
// and "nan" are numbers in any case of letters. A column with a missing value is f64 rather than
// i64, and whole numbers above 2^53 are rounded in it. A field in quotes is never missing among
// texts. A header's empty name is column0, column1, ... by its place.
//
// Throws IoError, naming the file, the line and the column (the field's number from 1), for a file
// that is missing, damaged or in UTF-16, a row with more or fewer fields than the first one, a
// quote that is not closed or that something follows, two columns of one name, no header, and a
// field that is not of the type that `columns` asks for (a missing one in i64 is such). ValueError
// for options that contradict each other: a name in `columns` that no column has, another number of
// `names` than of columns, one character for two purposes.
//
// Takes the memory of the (decompressed) file beside that of the table.
Table read_csv(const std::filesystem::path& path, const CsvOptions& options = {});

struct WriteCsvOptions {
  char separator = ',';
  bool header = true;
  std::string missing = "NA";
};

// Writes a table so that read_csv with these options, the same separator and `missing` gives it
// back: f64 by as many digits as tell it from others, texts in quotes where they need them. (But
// texts that are all numbers become numbers, as do whole numbers of f64: CsvOptions::columns.) The
// old file is intact until the new one is complete. Throws IoError where it cannot be written,
// ValueError for a table of one column if `missing` is empty and a value is: an empty line is no
// row; and for a separator that a number may have.
void write_csv(const std::filesystem::path& path, const Table& table,
               const WriteCsvOptions& options = {});

}  // namespace kroton::data
