// Tables from text files. Every column begins as whole numbers and becomes what its values ask for.
// Once it is of texts the rows before are read a second time, for what was written in them.
#include <kroton/csv.h>
#include <kroton/error.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "frontend/data/csv_rows.h"
#include "frontend/data/data_file.h"
#include "frontend/data/names.h"
#include "frontend/train/files.h"

namespace kroton::data {

namespace {

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

const char* name_of(ColumnType type) {
  return type == ColumnType::i64 ? "i64" : type == ColumnType::f64 ? "f64" : "text";
}

[[noreturn]] void bad_option(const std::string& message) {
  throw ValueError("read_csv: " + message);
}

void check(const CsvOptions& o) {
  if (o.skip_rows < 0) bad_option("skip_rows is " + std::to_string(o.skip_rows));
  if (o.separator == '\0') bad_option("there is no separator");
  for (const auto& [name, type] : o.columns) {
    if (type != ColumnType::i64 && type != ColumnType::f64 && type != ColumnType::text) {
      bad_option("columns: " + files::shown(name) + " has no type");
    }
  }
  const std::pair<const char*, char> characters[] = {
      {"separator", o.separator}, {"quote", o.quote}, {"comment", o.comment}};
  for (const auto& [name, c] : characters) {
    if (c == '\n' || c == '\r') bad_option(std::string(name) + " is a line break");
    for (const auto& [other_name, other] : characters) {
      if (name != other_name && c == other && c != '\0') {
        bad_option(std::string(name) + " and " + other_name + " are one character, " +
                   files::shown(std::string(1, c)));
      }
    }
  }
}

}  // namespace

// What stands for no value, with a quick answer for most fields.
class Missing {
 public:
  explicit Missing(const std::vector<std::string>& texts) : texts_(texts) {
    for (const std::string& text : texts) {
      if (text.empty()) {
        empty_ = true;
      } else {
        begins_[static_cast<unsigned char>(text[0])] = true;
      }
    }
  }
  bool has(std::string_view text) const {
    if (text.empty()) return empty_;
    return begins_[static_cast<unsigned char>(text[0])] &&
           std::ranges::find(texts_, text) != texts_.end();
  }

 private:
  const std::vector<std::string>& texts_;
  bool begins_[256] = {};
  bool empty_ = false;
};

class TableBuilder {
 public:
  TableBuilder(std::string_view text, const CsvOptions& options, const std::filesystem::path& path)
      : options_(options), path_(path), missing_(options.missing), rows_(text, options, path) {}

  Table build() {
    read_names();
    while (rows_.next()) {
      const auto fields = rows_.fields();
      for (std::size_t k = 0; k < fields.size(); ++k) append(k, fields[k]);
      ++count_;
    }
    read_texts_again();
    Table table;
    for (Growing& growing : columns_) {
      // Nothing tells what a column is without values.
      if (!growing.fixed && count_ == 0) {
        growing.column.values_ = std::vector<double>();
      }
      table.add(std::move(growing.column));
    }
    return table;
  }

 private:
  struct Growing {
    Column column;
    bool fixed = false;          // its type does not change
    std::int64_t text_from = 0;  // the row from which on it has texts
  };

  void read_names() {
    std::vector<std::string> names = options_.names;
    const bool has_row = rows_.next();
    if (options_.header) {
      if (!has_row) throw IoError(path_.string() + ": no header: the file has no rows");
      if (names.empty()) {
        for (const CsvField& field : rows_.fields()) {
          names.emplace_back(field.quoted ? field.text : rows_.trimmed(field.text));
          if (names.back().empty()) names.back() = numbered(names.size() - 1);
        }
      }
    } else if (has_row) {
      if (names.empty()) {
        for (std::size_t k = 0; k < rows_.fields().size(); ++k) names.push_back(numbered(k));
      }
      rows_.step_back();
    }
    if (has_row && names.size() != rows_.fields().size()) {
      bad_option(path_.string() + ": line " + std::to_string(rows_.line()) + " has " +
                 std::to_string(rows_.fields().size()) + " columns, and there are " +
                 std::to_string(names.size()) + " names");
    }
    std::map<std::string_view, std::size_t> places;
    for (std::size_t k = 0; k < names.size(); ++k) {
      const auto [at, is_new] = places.emplace(names[k], k);
      if (is_new) continue;
      const std::string same = "columns " + std::to_string(at->second + 1) + " and " +
                               std::to_string(k + 1) + " are both named " + files::shown(names[k]);
      if (!options_.names.empty()) bad_option(same);
      rows_.fail(k, same + "; CsvOptions::names gives them others");
    }
    for (const auto& [name, type] : options_.columns) {
      if (!places.contains(name)) {
        bad_option("columns: " + path_.string() + ": " + no_such_name("column", name, names));
      }
    }
    columns_.resize(names.size());
    for (std::size_t k = 0; k < names.size(); ++k) {
      Growing& growing = columns_[k];
      if (const auto type = options_.columns.find(names[k]); type != options_.columns.end()) {
        growing.fixed = true;
        if (type->second == ColumnType::f64) growing.column.values_ = std::vector<double>();
        if (type->second == ColumnType::text) growing.column.values_ = Column::Texts();
      }
      growing.column.name_ = std::move(names[k]);
    }
  }

  static std::string numbered(std::size_t k) { return "column" + std::to_string(k); }

  void append(std::size_t k, const CsvField& field) {
    Growing& growing = columns_[k];
    auto& values = growing.column.values_;
    if (auto* texts = std::get_if<Column::Texts>(&values)) {
      append_text(*texts, field);
      return;
    }
    const std::string_view text = rows_.trimmed(field.text);
    const bool is_missing = missing_.has(text);
    if (auto* integers = std::get_if<std::vector<std::int64_t>>(&values)) {
      if (const auto value = is_missing ? std::nullopt : parse_integer(text)) {
        integers->push_back(*value);
        return;
      }
      if (growing.fixed) wrong_type(k, field, is_missing);
      if (!is_missing && !parse_real(text)) return become_text(growing, field);
      std::vector<double> reals(integers->begin(), integers->end());
      reals.reserve(integers->capacity());
      values = std::move(reals);
    }
    if (is_missing) {
      std::get<std::vector<double>>(values).push_back(no_number);
    } else if (const auto value = parse_real(text)) {
      std::get<std::vector<double>>(values).push_back(*value);
    } else if (growing.fixed) {
      wrong_type(k, field, false);
    } else {
      become_text(growing, field);
    }
  }

  void become_text(Growing& growing, const CsvField& field) {
    growing.text_from = count_;
    growing.column.values_ = Column::Texts();
    append_text(std::get<Column::Texts>(growing.column.values_), field);
  }

  void append_text(Column::Texts& texts, const CsvField& field) const {
    const bool is_missing = !field.quoted && missing_.has(rows_.trimmed(field.text));
    if (!is_missing) texts.bytes += field.text;
    const auto end = static_cast<std::int64_t>(texts.bytes.size());
    texts.ends.push_back(is_missing ? ~end : end);
  }

  [[noreturn]] void wrong_type(std::size_t k, const CsvField& field, bool is_missing) const {
    const Column& column = columns_[k].column;
    rows_.fail(k, "expected " + std::string(name_of(column.type())) + " in " +
                      files::shown(column.name()) + ", got " + (is_missing ? "no value: " : "") +
                      files::shown(field.text));
  }

  // The texts of the rows that came before a column was found to be of texts.
  void read_texts_again() {
    std::int64_t most = 0;
    std::vector<std::pair<std::size_t, Column::Texts>> again;
    for (std::size_t k = 0; k < columns_.size(); ++k) {
      if (columns_[k].text_from == 0) continue;
      most = std::max(most, columns_[k].text_from);
      again.emplace_back(k, Column::Texts());
    }
    if (most == 0) return;
    rows_.restart();
    if (options_.header) rows_.next();
    for (std::int64_t row = 0; row < most && rows_.next(); ++row) {
      for (auto& [k, texts] : again) {
        if (row < columns_[k].text_from) append_text(texts, rows_.fields()[k]);
      }
    }
    for (auto& [k, texts] : again) {
      auto& rest = std::get<Column::Texts>(columns_[k].column.values_);
      const auto shift = static_cast<std::int64_t>(texts.bytes.size());
      texts.bytes += rest.bytes;
      for (const std::int64_t end : rest.ends) {
        texts.ends.push_back(end < 0 ? end - shift : end + shift);
      }
      rest = std::move(texts);
    }
  }

  const CsvOptions& options_;
  const std::filesystem::path& path_;
  Missing missing_;
  CsvRows rows_;
  std::vector<Growing> columns_;
  std::int64_t count_ = 0;
};

Table read_csv(const std::filesystem::path& path, const CsvOptions& options) {
  check(options);
  DataFile file(path);
  const std::string bytes = file.read_rest();
  std::string_view text = bytes;
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    file.fail(0, "the text is in UTF-16: expected UTF-8");
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return TableBuilder(text, options, path).build();
}

}  // namespace kroton::data
