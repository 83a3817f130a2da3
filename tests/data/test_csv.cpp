// Tables from text files.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/tools/data_files.h"

namespace {

namespace kt = kroton;
using kt::data::Column;
using kt::data::ColumnType;
using kt::data::CsvOptions;
using kt::data::Table;
using Texts = std::vector<std::string>;

Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

Table read(std::string_view text, const CsvOptions& options = {}) {
  const Files directory;
  return kt::data::read_csv(directory.write("t.csv", bytes_of(text)), options);
}

// The message for a file t.csv, without its directory.
std::string error_in(std::string_view text, const CsvOptions& options = {}) {
  try {
    (void)read(text, options);
  } catch (const kt::Error& error) {
    const std::string message = error.what();
    const std::size_t name = message.find("/t.csv");
    if (name == std::string::npos) return message;
    const std::size_t start = message.rfind(' ', name);
    const std::size_t first = start == std::string::npos ? 0 : start + 1;
    return message.substr(0, first) + message.substr(name + 1);
  }
  return "no error";
}

std::vector<std::int64_t> integers(const Column& column) {
  const auto values = column.i64_values();
  return {values.begin(), values.end()};
}

std::vector<double> numbers(const Column& column) {
  const auto values = column.f64_values();
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("csv: types from the values") {
  const Table t = read(
      "count,length,name,mixed,none\n"
      "1,0.5,ann,1,\n"
      "-2,1e3,bob,x,NA\n"
      "+3,7,,3,nan\n");
  CHECK(t.rows() == 3);
  CHECK(t.columns() == 5);
  CHECK(t.names() == Texts{"count", "length", "name", "mixed", "none"});
  CHECK(integers(t.column("count")) == std::vector<std::int64_t>{1, -2, 3});
  CHECK(numbers(t.column("length")) == std::vector<double>{0.5, 1000, 7});
  CHECK(t.column("name").texts() == Texts{"ann", "bob", ""});
  CHECK(t.column("name").is_missing(2));
  CHECK(t.column("name").missing() == 1);
  CHECK(t.column("mixed").texts() == Texts{"1", "x", "3"});
  CHECK(t.column("mixed").missing() == 0);
  CHECK(t.column("none").type() == ColumnType::f64);
  CHECK(t.column("none").missing() == 3);
  CHECK(&t.column(2) == &t.column("name"));
}

TEST_CASE("csv: a column that turns out to be something else late") {
  for (const int count : {1, 3, 17, 1000}) {
    CAPTURE(count);
    std::string text = "whole,real,missing,text\n";
    for (int k = 0; k < count; ++k) {
      const std::string number = std::to_string(k);
      text += number + ',' + number + ',' + number + ", 0" + number + "\n";
    }
    text += "5,0.5,NA,word\n\"6\",1,2,\n";
    const Table t = read(text);
    REQUIRE(t.rows() == count + 2);
    CHECK(t.column("whole").type() == ColumnType::i64);
    CHECK(t.column("whole").i64_values()[static_cast<std::size_t>(count) + 1] == 6);
    CHECK(t.column("real").f64_values()[static_cast<std::size_t>(count)] == 0.5);
    CHECK(t.column("real").f64_values()[static_cast<std::size_t>(count) - 1] == count - 1);
    CHECK(t.column("missing").missing() == 1);
    CHECK(t.column("missing").is_missing(count));
    // As they were written, blanks and zeros too.
    for (int k = 0; k < count; ++k) CHECK(t.column("text").text(k) == " 0" + std::to_string(k));
    CHECK(t.column("text").text(count) == "word");
    CHECK(t.column("text").is_missing(count + 1));
  }
}

TEST_CASE("csv: quotes and line breaks of every kind") {
  const Table t = read(
      "\xef\xbb\xbf\"a \"\"name\"\"\",b\r\n"
      "\"x,y\",1\r\n"
      "\"two\nlines\",2\n"
      "\n"
      "\"\"\"\",\"3\"\r"
      "5\" disk,4\r\n"
      " \"no,5\n"
      "\"\",6");
  CHECK(t.names() == Texts{"a \"name\"", "b"});
  CHECK(t.column(0).texts() == Texts{"x,y", "two\nlines", "\"", "5\" disk", " \"no", ""});
  // What is written in quotes is a text, an empty one too.
  CHECK(t.column(0).missing() == 0);
  CHECK(integers(t.column("b")) == std::vector<std::int64_t>{1, 2, 3, 4, 5, 6});

  // Quotes are none, and a byte 0 is a character like others.
  const Table plain = read(std::string_view("a,b\n\"x,y\"\np\0q,\0\n", 16), {.quote = '\0'});
  CHECK(plain.column("a").texts() == Texts{"\"x", std::string("p\0q", 3)});
  CHECK(plain.column("b").texts() == Texts{"y\"", std::string(1, '\0')});
}

TEST_CASE("csv: options") {
  const Table semicolons =
      read("made by hand\n# comment\nx;y\n# another; one; here\n1;?\n2;3\n",
           {.separator = ';', .missing = {"?"}, .skip_rows = 1, .comment = '#'});
  CHECK(integers(semicolons.column("x")) == std::vector<std::int64_t>{1, 2});
  CHECK(semicolons.column("y").is_missing(0));
  CHECK(semicolons.column("y").f64_values()[1] == 3);

  const Table aligned = read("  x    y\n 1.5   \"a b\" \n\n10\t\tc\n \t\n", {.separator = ' '});
  CHECK(numbers(aligned.column("x")) == std::vector<double>{1.5, 10});
  CHECK(aligned.column("y").texts() == Texts{"a b", "c"});
  CHECK(error_in("x y\n1 2 3 \n", {.separator = ' '}) ==
        "t.csv: line 2, column 3: expected 2 fields, got 3");

  const Table bare = read("1\t2\n\t4\n", {.separator = '\t', .header = false});
  CHECK(bare.names() == Texts{"column0", "column1"});
  CHECK(bare.rows() == 2);
  CHECK(bare.column("column0").is_missing(1));

  const Table named = read("1,2\n3,4\n", {.header = false, .names = {"a", "b"}});
  CHECK(integers(named.column("b")) == std::vector<std::int64_t>{2, 4});
  const Table renamed = read("x,x\n3,4\n", {.names = {"a", "b"}});
  CHECK(integers(renamed.column("b")) == std::vector<std::int64_t>{4});
  CHECK(read(",a\n1,2\n").names() == Texts{"column0", "a"});

  const std::string adult = "age, job\n39, \"clerk, state\" \n50, ? \n";
  const Table trimmed = read(adult, {.missing = {"?"}, .trim = true});
  CHECK(trimmed.column("job").texts() == Texts{"clerk, state", ""});
  CHECK(trimmed.column("job").is_missing(1));

  // A number stands for no value.
  const Table sentinel = read("x\n-999\n1\n", {.missing = {"-999"}});
  CHECK(sentinel.column("x").is_missing(0));

  const Table forced = read("zip,size\n01234,1\n,2\n",
                            {.columns = {{"zip", ColumnType::text}, {"size", ColumnType::f64}}});
  CHECK(forced.column("zip").texts() == Texts{"01234", ""});
  CHECK(forced.column("zip").is_missing(1));
  CHECK(numbers(forced.column("size")) == std::vector<double>{1, 2});
}

TEST_CASE("csv: few rows and none") {
  const Table header = read("a,b\n");
  CHECK(header.rows() == 0);
  CHECK(header.columns() == 2);
  CHECK(header.matrix({"a", "b"}).shape() == kt::Shape{0, 2});
  CHECK(header.codes("a").values.empty());
  CHECK(read("a").rows() == 0);
  CHECK(read("", {.header = false}).columns() == 0);
  CHECK(read("", {.header = false, .names = {"a"}}).columns() == 1);
  CHECK(read("\n \n1\n\n", {.header = false}).rows() == 1);
  CHECK(read("a\n\"\"\n").rows() == 1);
  CHECK(error_in("") == "t.csv: no header: the file has no rows");
  CHECK(error_in("a\n1\n", {.skip_rows = 10}) == "t.csv: no header: the file has no rows");
}

TEST_CASE("csv: numbers are those that are written") {
  const Table t = read("x\n9223372036854775807\n-9223372036854775808\n0\n007\n");
  CHECK(integers(t.column("x")) ==
        std::vector<std::int64_t>{std::numeric_limits<std::int64_t>::max(),
                                  std::numeric_limits<std::int64_t>::min(), 0, 7});
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(numbers(read("x\n9223372036854775808\n1\n").column(0)) ==
        std::vector<double>{9223372036854775808.0, 1});
  const Table edges = read(
      "x\n1e999\n-1e999\n1e-999\n0.00001e400\n100000e-400\ninf\n-Infinity\n.5\n5.\n-0\n"
      "1e99999999999999999999999\n1e-99999999999999999999999\n0e999999999999999999999\n\t 2 \n");
  const auto x = edges.column("x").f64_values();
  CHECK(numbers(edges.column("x")) ==
        std::vector<double>{inf, -inf, 0, inf, 0, inf, -inf, 0.5, 5, 0, inf, 0, 0, 2});
  CHECK(std::signbit(x[9]));
  for (const char* text :
       {"0x10", "1,5", "1 2", "1e", "--1", "+-1", "nan(x)", "1_000", "+", "e5"}) {
    CAPTURE(text);
    CHECK(read(std::string("x;y\n") + text + ";1\n", {.separator = ';'}).column("x").type() ==
          ColumnType::text);
  }

  // Against the C library, in many lengths and magnitudes.
  std::mt19937_64 random(1);
  std::string text = "x\n";
  std::vector<double> expected;
  for (int k = 0; k < 5000; ++k) {
    std::string number = random() % 2 == 0 ? "-" : "";
    for (std::size_t digit = 0, digits = 1 + random() % 25; digit < digits; ++digit) {
      number += static_cast<char>('0' + random() % 10);
      if (random() % 12 == 0 && number.find('.') == std::string::npos) number += '.';
    }
    if (random() % 2 == 0) number += "e" + std::to_string(static_cast<int>(random() % 660) - 330);
    expected.push_back(std::strtod(number.c_str(), nullptr));
    text += number + "\n";
  }
  CHECK(numbers(read(text + "0.5\n").column("x")).size() == expected.size() + 1);
  const Table many = read(text + "0.5\n");
  for (std::size_t k = 0; k < expected.size(); ++k) {
    REQUIRE(many.column("x").f64_values()[k] == expected[k]);
  }
}

TEST_CASE("csv: damaged files say where") {
  CHECK(error_in("a,b\n1,2\n1,2,3,4\n") == "t.csv: line 3, column 3: expected 2 fields, got 4");
  CHECK(error_in("a,b\n\"1\n\",2\n\n1\n") == "t.csv: line 5, column 1: expected 2 fields, got 1");
  CHECK(error_in("a,b\n1,\"2\n3,4\n") ==
        "t.csv: line 2, column 2: the quote that opens here is not closed");
  CHECK(error_in("a,b\n1,\"2\n3\"4\n") ==
        "t.csv: line 3, column 2: expected the separator or the end of the line after the closing "
        "quote");
  CHECK(error_in("a,b,a\n") ==
        "t.csv: line 1, column 3: columns 1 and 3 are both named \"a\"; CsvOptions::names gives "
        "them others");
  CHECK(error_in("a,b\n1,2\n3,x\n", {.columns = {{"b", ColumnType::i64}}}) ==
        "t.csv: line 3, column 2: expected i64 in \"b\", got \"x\"");
  CHECK(error_in("a,b\n1,2\n3,\n", {.columns = {{"b", ColumnType::i64}}}) ==
        "t.csv: line 3, column 2: expected i64 in \"b\", got no value: \"\"");
  CHECK(error_in("a,b\n1,2\n3,1.5x\n", {.columns = {{"b", ColumnType::f64}}}) ==
        "t.csv: line 3, column 2: expected f64 in \"b\", got \"1.5x\"");
  CHECK(error_in("\xff\xfe"
                 "a\n") == "t.csv: at byte 0: the text is in UTF-16: expected UTF-8");
  CHECK(error_of([] { (void)kt::data::read_csv("/nowhere/t.csv"); }) ==
        "/nowhere/t.csv: no such file");

  const Files directory;
  std::string text = "x\n";
  for (int k = 0; k < 1000; ++k) text += std::to_string(k * k) + "\n";
  const auto zipped = directory.write_gzipped("z", bytes_of(text));
  CHECK(kt::data::read_csv(zipped).column("x").i64_values()[999] == 998001);
  Bytes cut = contents(zipped);
  cut.resize(cut.size() - 3);
  CHECK(error_of([&] {
          (void)kt::data::read_csv(directory.write("z", cut));
        }).find("the gzip data breaks off after the text, before its checksum") !=
        std::string::npos);
}

TEST_CASE("csv: options that contradict each other") {
  CHECK(error_in("a\n1\n", {.quote = ','}) ==
        "read_csv: separator and quote are one character, \",\"");
  CHECK(error_in("a\n1\n", {.comment = '"'}) ==
        "read_csv: quote and comment are one character, \"\"\"");
  CHECK(error_in("a\n1\n", {.separator = '\n'}) == "read_csv: separator is a line break");
  CHECK(error_in("a\n1\n", {.separator = '\0'}) == "read_csv: there is no separator");
  CHECK(error_in("a\n1\n", {.skip_rows = -1}) == "read_csv: skip_rows is -1");
  CHECK(error_in("a\n1\n", {.names = {"x", "y"}}) ==
        "read_csv: t.csv: line 1 has 1 columns, and there are 2 names");
  CHECK(error_in("1,2\n", {.header = false, .names = {"x", "x"}}) ==
        "read_csv: columns 1 and 2 are both named \"x\"");
  CHECK(error_in("a\n1\n", {.columns = {{"a", static_cast<ColumnType>(7)}}}) ==
        "read_csv: columns: \"a\" has no type");
  CHECK(error_in("length,width\n", {.columns = {{"lenght", ColumnType::f64}}}) ==
        "read_csv: columns: t.csv: there is no column \"lenght\"; did you mean \"length\"? There "
        "are \"length\", \"width\"");
}
