// What tables give, and how they are written.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tests/tools/data_files.h"

namespace {

namespace kt = kroton;
using kt::data::ColumnType;
using kt::data::Table;
using Texts = std::vector<std::string>;

const double inf = std::numeric_limits<double>::infinity();
const double no_number = std::numeric_limits<double>::quiet_NaN();

Table flowers() {
  Table t;
  t.add("length", kt::Array::from({5.1, 4.9, 6.5}));
  t.add("petals", kt::Array::from({5, 4, 3}));
  t.add("species", Texts{"rose", "iris", "rose"});
  return t;
}

// The message of the error that is thrown, with its kind.
template <class Function>
std::string error_with_kind(Function function) {
  try {
    (void)function();
  } catch (const kt::ValueError& error) {
    return std::string("ValueError: ") + error.what();
  } catch (const kt::TypeError& error) {
    return std::string("TypeError: ") + error.what();
  } catch (const kt::ShapeError& error) {
    return std::string("ShapeError: ") + error.what();
  }
  return "no error";
}

// As it is read again.
Table again(const Table& table, const kt::data::WriteCsvOptions& options = {},
            const kt::data::CsvOptions& reading = {}) {
  const Files directory;
  kt::data::write_csv(directory.path() / "t.csv", table, options);
  return kt::data::read_csv(directory.path() / "t.csv", reading);
}

void check_same(const Table& a, const Table& b) {
  REQUIRE(a.names() == b.names());
  REQUIRE(a.rows() == b.rows());
  for (std::int64_t k = 0; k < a.columns(); ++k) {
    CAPTURE(k);
    REQUIRE(a.column(k).type() == b.column(k).type());
    for (std::int64_t row = 0; row < a.rows(); ++row) {
      CHECK(a.column(k).is_missing(row) == b.column(k).is_missing(row));
    }
    if (a.column(k).type() == ColumnType::text) {
      CHECK(a.column(k).texts() == b.column(k).texts());
    } else {
      CHECK(kt::array_equal(a.number(a.names()[static_cast<std::size_t>(k)]),
                            b.number(a.names()[static_cast<std::size_t>(k)]), true));
    }
  }
}

}  // namespace

TEST_CASE("table: columns as arrays") {
  const Table t = flowers();
  CHECK(t.has("petals"));
  CHECK_FALSE(t.has("petal"));
  CHECK(kt::array_equal(t.number("length"), kt::Array::from({5.1, 4.9, 6.5})));
  CHECK(kt::array_equal(t.number("petals"), kt::Array::from(std::vector<std::int64_t>{5, 4, 3})));
  CHECK(kt::array_equal(t.matrix({"petals", "length"}),
                        kt::Array::from({{5.0F, 5.1F}, {4.0F, 4.9F}, {3.0F, 6.5F}})));
  CHECK(kt::array_equal(t.matrix({"length"}, kt::f64), kt::Array::from({{5.1}, {4.9}, {6.5}})));
  CHECK(kt::array_equal(t.matrix({"petals"}, kt::i32), kt::Array::from({{5}, {4}, {3}})));
  CHECK(t.matrix({}).shape() == kt::Shape{3, 0});
  std::ostringstream text;
  text << t;
  CHECK(text.str() ==
        "3 rows, 3 columns\n  \"length\" f64: 5.1, 4.9, 6.5\n  \"petals\" i64: 5, 4, 3\n  "
        "\"species\" text: \"rose\", \"iris\", \"rose\"");
}

TEST_CASE("table: codes") {
  using Codes = std::vector<std::int64_t>;
  const auto of = [](const kt::Array& array) {
    const auto values = array.data<std::int64_t>();
    return Codes(values.begin(), values.end());
  };
  const auto [codes, species] = flowers().codes("species");
  CHECK(of(codes) == Codes{1, 0, 1});
  CHECK(species == Texts{"iris", "rose"});
  CHECK(of(flowers().codes("species", {"tulip", "rose", "iris"})) == Codes{1, 2, 1});
  CHECK(of(flowers().codes("petals").codes) == Codes{2, 1, 0});
  CHECK(flowers().codes("petals").values == Texts{"3", "4", "5"});

  Table t;
  t.add("x", kt::Array::from({10.0, no_number, 9.0, -0.0, 0.0}));
  CHECK(of(t.codes("x").codes) == Codes{2, -1, 1, 0, 0});
  CHECK(t.codes("x").values.size() == 3);
  const Files directory;
  const Bytes text = {'s', ',', 't', '\n', 'b', ',', '1', '\n', ',', '2', '\n', 'a', ',', '3'};
  const Table missing = kt::data::read_csv(directory.write("t.csv", text));
  CHECK(of(missing.codes("s").codes) == Codes{1, -1, 0});
  CHECK(of(missing.codes("s", {"a", "b"})) == Codes{1, -1, 0});

  CHECK(error_with_kind([] { return flowers().codes("species", {"iris", "ros"}); }) ==
        "ValueError: codes: column \"species\": row 0: there is no value \"rose\"; did you mean "
        "\"ros\"? There are \"iris\", \"ros\"");
  CHECK(error_with_kind([] { return flowers().codes("species", {"a", "a"}); }) ==
        "ValueError: codes: \"a\" is listed twice");
}

TEST_CASE("table: what does not fit") {
  const Table t = flowers();
  CHECK(error_with_kind([&] { return t.number("lenght"); }) ==
        "ValueError: Table: there is no column \"lenght\"; did you mean \"length\"? There are "
        "\"length\", \"petals\", \"species\"");
  CHECK(error_with_kind([&] { return t.column("colour"); }) ==
        "ValueError: Table: there is no column \"colour\"; there are \"length\", \"petals\", "
        "\"species\"");
  CHECK(error_with_kind([&] { return Table().column("x"); }) ==
        "ValueError: Table: there is no column \"x\"; there are none");
  CHECK(error_with_kind([&] { return t.column(3); }) ==
        "ValueError: Table: column 3 is out of range for 3 columns");
  CHECK(error_with_kind([&] { return t.column(-1); }) ==
        "ValueError: Table: column -1 is out of range for 3 columns");
  CHECK(error_with_kind([&] { return t.number("species"); }) ==
        "TypeError: number: column \"species\" is text: row 0 is \"rose\"");
  CHECK(error_with_kind([&] { return t.matrix({"length", "species"}); }) ==
        "TypeError: matrix: column \"species\" is text: row 0 is \"rose\"");
  CHECK(error_with_kind([&] { return t.matrix({"length"}, kt::boolean); }) ==
        "TypeError: matrix: expected a dtype of numbers, got boolean");
  CHECK(error_with_kind([&] { return t.matrix({"length"}, kt::i64); }) ==
        "ValueError: matrix: column \"length\": row 0 is 5.1, which i64 does not hold");
  CHECK(error_with_kind([&] { return t.column("length").i64_values(); }) ==
        "TypeError: column \"length\": expected i64, got f64");
  CHECK(error_with_kind([&] { return t.column("length").text(0); }) ==
        "TypeError: column \"length\": expected text, got f64");
  CHECK(error_with_kind([&] { return t.column("petals").f64_values(); }) ==
        "TypeError: column \"petals\": expected f64, got i64");
  CHECK(error_with_kind([&] { return t.column("petals").texts(); }) ==
        "TypeError: column \"petals\": expected text, got i64");
  for (const std::int64_t row : {-1, 3}) {
    const std::string message = "row " + std::to_string(row) + " is out of range for 3 rows";
    CHECK(error_with_kind([&] { return t.column("species").text(row); }) ==
          "ValueError: column \"species\": " + message);
    CHECK(error_with_kind([&] { return t.column("length").is_missing(row); }) ==
          "ValueError: column \"length\": " + message);
  }
  CHECK(error_with_kind([] { return flowers().add("x", kt::Array::from({1, 2})); }) ==
        "ShapeError: Table::add: column \"x\" has 2 rows, the table 3");
  CHECK(error_with_kind([] { return flowers().add("x", kt::Array::zeros({3, 1})); }) ==
        "ShapeError: Table::add: column \"x\": expected an array (rows), got (3, 1)");
  CHECK(error_with_kind([] { return flowers().add("length", kt::Array::zeros({3})); }) ==
        "ValueError: Table::add: there is a column \"length\" already");

  Table range;
  range.add("x", kt::Array::from({std::int64_t{1} << 31, std::int64_t{-1} << 31}));
  range.add("y", kt::Array::from({0x1p63, -0x1p63}));
  CHECK(error_with_kind([&] { return range.matrix({"x"}, kt::i32); }) ==
        "ValueError: matrix: column \"x\": row 0 is 2147483648, which i32 does not hold");
  CHECK(error_with_kind([&] { return range.matrix({"y"}, kt::i64); }).find("row 0") !=
        std::string::npos);
  CHECK(range.matrix({"x"}, kt::i64).size() == 2);
}

TEST_CASE("table: written and read again") {
  check_same(again(flowers()), flowers());
  Table hard;
  hard.add("a \"b\",\n",
           Texts{"", "NA", " x", "y ", "1,2", "\"", "a\nb", "\r", "nan", "-", "\xef\xbb\xbf"});
  hard.add("", kt::Array::from({1.0, 0.1, 1e300, -0.0, inf, -inf, no_number, 1.0 / 3, 5e-324,
                                123456789.0, 1e22}));
  hard.add("whole", kt::Array::arange(11, kt::i64));
  hard.add("real", kt::Array::arange(11, kt::f64));
  Table read = again(hard);
  // An empty name is replaced.
  CHECK(read.names()[1] == "column1");
  Table named;
  named.add("a \"b\",\n", hard.column(0).texts());
  named.add("column1", hard.number(""));
  named.add("whole", hard.number("whole"));
  named.add("real", hard.number("real"));
  check_same(read, named);
  check_same(again(hard, {.separator = ';', .header = false, .missing = "?"},
                   {.separator = ';', .header = false, .missing = {"?"}, .names = named.names()}),
             named);
  CHECK(again(Table(), {}, {.header = false}).columns() == 0);

  // Random texts of the characters that matter.
  std::mt19937 random(3);
  const std::string_view characters = "\",\n\r a\t1N#";
  Texts texts(500);
  for (std::string& text : texts) {
    for (std::size_t k = 0, length = random() % 6; k < length; ++k) {
      text += characters[random() % characters.size()];
    }
  }
  Table table;
  table.add("text", texts);
  check_same(again(table), table);
  check_same(again(table, {.separator = '\t'}, {.separator = '\t', .trim = true}), table);

  check_same(again(table, {.separator = ' '}, {.separator = ' '}), table);

  Table alone;
  alone.add("x", kt::Array::from({no_number, 1.0}));
  check_same(again(alone), alone);
  CHECK(error_with_kind([&] { return again(alone, {.missing = ""}); }) ==
        "ValueError: write_csv: column \"x\" has missing values and is the only one: an empty line "
        "is no row");
  CHECK(error_with_kind([&] { return again(alone, {.separator = ' ', .missing = ""}); }) ==
        "ValueError: write_csv: a missing value cannot be written as \"\"");
  CHECK(error_with_kind([&] { return again(alone, {.separator = '.'}); }) ==
        "ValueError: write_csv: \".\" cannot separate fields");
  CHECK(error_with_kind([&] { return again(alone, {.missing = "a,b"}); }) ==
        "ValueError: write_csv: a missing value cannot be written as \"a,b\"");
  CHECK(error_of([&] {
          kt::data::write_csv("/nowhere/t.csv", alone);
          return 0;
        }).starts_with("/nowhere/t.csv: cannot be written"));
}
