// Texts as numbers.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <chrono>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tests/tools/data_files.h"
#include "tests/tools/places.h"

namespace {

namespace kt = kroton;
using kt::data::BytePairEncoding;
using kt::data::CharacterVocabulary;
using kt::data::WordVocabulary;
using Tokens = std::vector<std::int64_t>;
using Texts = std::vector<std::string>;

Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

std::string shakespeare() {
  return kt::data::read_text(places::source_dir() + "/examples/data/text/shakespeare.txt");
}

std::string random_bytes(std::mt19937& random, std::size_t length, std::string_view from = {}) {
  std::string text;
  for (std::size_t k = 0; k < length; ++k) {
    text += from.empty() ? static_cast<char>(random()) : from[random() % from.size()];
  }
  return text;
}

Tokens numbers_in(std::istream& line) {
  Tokens numbers;
  for (std::int64_t number = 0; line >> number;) numbers.push_back(number);
  return numbers;
}

Tokens flat(const std::vector<std::pair<std::int64_t, std::int64_t>>& merges) {
  Tokens numbers;
  for (const auto& [left, right] : merges) numbers.insert(numbers.end(), {left, right});
  return numbers;
}

}  // namespace

TEST_CASE("text: files") {
  const Files directory;
  const std::string text = "na\xc3\xafve \xf0\x9f\x99\x82\n";
  CHECK(kt::data::read_text(directory.write("t", bytes_of(text))) == text);
  CHECK(kt::data::read_text(directory.write("t", bytes_of("\xef\xbb\xbf" + text))) == text);
  CHECK(kt::data::read_text(directory.write_gzipped("t", bytes_of(text))) == text);
  CHECK(kt::data::read_text(directory.write("t", {})).empty());
  std::string large;
  for (int k = 0; k < 100000; ++k) large += std::to_string(k) + ' ';
  CHECK(kt::data::read_text(directory.write("t", bytes_of(large))) == large);
  CHECK(kt::data::read_text(directory.write_gzipped("t", bytes_of(large))) == large);

  const auto path = directory.write("t", bytes_of("abc\xff"));
  CHECK(error_of([&] { return kt::data::read_text(path); }) ==
        path.string() + ": at byte 3: the text is not UTF-8 from here");
  CHECK(kt::data::read_text(path, {.bytes = true}) == "abc\xff");
  CHECK(error_of([&] { return kt::data::read_text(path.string() + "x"); }) ==
        path.string() + "x: no such file");
}

TEST_CASE("text: characters") {
  const CharacterVocabulary v("hello \xe2\x82\xac\xc3\xa9\xf0\x9f\x99\x82");
  // Blank, e, h, l, o, and U+00E9, U+20AC, U+1F642.
  CHECK(v.size() == 8);
  CHECK(v.characters() == " ehlo\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82");
  CHECK(v.encode("hole\xf0\x9f\x99\x82") == Tokens{2, 4, 3, 1, 7});
  CHECK(v.decode(Tokens{5, 6, 7, 0}) == "\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82 ");
  CHECK(v.decode(kt::Array::from({{2, 1}, {3, 3}})) == "hell");
  CHECK(CharacterVocabulary(v.characters()).encode("hello") == v.encode("hello"));
  CHECK_THROWS_WITH_AS((void)v.encode("hey"),
                       "CharacterVocabulary: \"y\" at byte 2 is not in the vocabulary",
                       kt::ValueError);
  CHECK_THROWS_WITH_AS((void)v.encode("he\xc3"),
                       "CharacterVocabulary: the text is not UTF-8 at byte 2", kt::ValueError);
  CHECK_THROWS_WITH_AS((void)v.decode(Tokens{0, 8}),
                       "CharacterVocabulary: token 8 at position 1 is out of range for 8 tokens",
                       kt::ValueError);
  CHECK_THROWS_AS((void)v.decode(Tokens{-1}), kt::ValueError);
  CHECK_THROWS_WITH_AS((void)v.decode(kt::Array(0.5)),
                       "CharacterVocabulary: expected tokens of i64 or i32, got f64",
                       kt::TypeError);

  const CharacterVocabulary unknown("ab", {.unknown = true});
  CHECK(unknown.size() == 3);
  CHECK(unknown.encode("b?a") == Tokens{2, 0, 1});
  CHECK(unknown.decode(Tokens{2, 0, 1}) ==
        "b\xef\xbf\xbd"
        "a");
  CHECK(CharacterVocabulary("").size() == 0);
  CHECK(CharacterVocabulary("").encode("").empty());

  const std::string text = shakespeare();
  const CharacterVocabulary all(text);
  CHECK(all.size() < 100);
  CHECK(all.decode(all.encode(text)) == text);
}

TEST_CASE("text: words") {
  const std::string text = "The cat, the dog: don't 'quote' the_x 42.\nTHE CAT!";
  const WordVocabulary v(text, {.lower_case = true});
  CHECK(v.words()[0] == "the");
  CHECK(v.words()[1] == "'");
  CHECK(v.words()[2] == "cat");
  CHECK(v.encode("The CAT sat") == Tokens{1, 3, WordVocabulary::unknown});
  CHECK(v.decode(v.encode("the dog don't  sat.")) == "the dog don't <unknown> .");
  CHECK(v.decode(kt::Array::from({1, 0})) == "the <unknown>");

  const WordVocabulary cased("b a a B b c", {.most = 3});
  CHECK(cased.size() == 3);
  CHECK(cased.words() == Texts{"a", "b"});
  CHECK(cased.encode("B c a") == Tokens{0, 0, 1});
  CHECK(WordVocabulary("b a a", {.at_least = 2}).words() == Texts{"a"});
  CHECK(WordVocabulary("x y", {.most = 1}).size() == 1);
  CHECK(WordVocabulary("").size() == 1);
  CHECK(WordVocabulary::of(v.words(), true).encode(text) == v.encode(text));
  CHECK(WordVocabulary::of({"a", "b"}).encode("b a A") == Tokens{2, 1, 0});

  // Capital letters beyond ASCII; what is no UTF-8 stays.
  const auto lower = [](const std::string& word) {
    return WordVocabulary(word, {.lower_case = true}).words();
  };
  CHECK(lower("ÀÉÞ×ÿŸĀŁŽİΆΈΌΏΑΩЀЯабв") == Texts{"àéþ×ÿÿāłžİάέόώαωѐяабв"});
  CHECK(lower("A\xff\xc3") == Texts{"a\xff\xc3"});

  CHECK_THROWS_AS(WordVocabulary("", {.most = -1}), kt::ValueError);
  CHECK_THROWS_AS(WordVocabulary("", {.at_least = 0}), kt::ValueError);
  CHECK_THROWS_WITH_AS(WordVocabulary::of({"a", "a"}), "WordVocabulary: \"a\" is listed twice",
                       kt::ValueError);
  CHECK_THROWS_AS((void)v.decode(Tokens{v.size()}), kt::ValueError);
}

TEST_CASE("byte pairs: as a reference learns and encodes them") {
  std::ifstream file(places::source_dir() + "/tests/data/byte_pairs_values.txt");
  REQUIRE(file.good());
  BytePairEncoding learnt = BytePairEncoding::learn(shakespeare().substr(0, 20000), 256 + 120);
  std::string text;
  int merges = 0, texts = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "merges") {
      if (merges++ == 1) {
        learnt = BytePairEncoding::learn("abababab abab aaaa aaaa aaaaaaa xyz", 1000);
      }
      const Tokens expected = numbers_in(words);
      CHECK(expected.size() >= 10);
      CHECK(flat(learnt.merges()) == expected);
    } else if (kind == "text") {
      std::string hex;
      words >> hex;
      text.clear();
      for (std::size_t k = 0; k + 1 < hex.size(); k += 2) {
        text += static_cast<char>(std::stoi(hex.substr(k, 2), nullptr, 16));
      }
    } else {
      ++texts;
      CAPTURE(text);
      const Tokens expected = numbers_in(words);
      CHECK(learnt.encode(text) == expected);
      CHECK(learnt.decode(expected) == text);
    }
  }
  CHECK(merges == 2);
  CHECK(texts == 12);
}

TEST_CASE("byte pairs: every text comes back") {
  const std::string text = shakespeare();
  const auto start = std::chrono::steady_clock::now();
  const BytePairEncoding v = BytePairEncoding::learn(text, 768);
  CHECK(v.size() == 768);
  const Tokens tokens = v.encode(text);
  CHECK(v.decode(tokens) == text);
  CHECK(tokens.size() < text.size() / 2);
  CHECK(v.decode(kt::Array::from(tokens)) == text);
  std::mt19937 random(2);
  for (const std::size_t length : {0, 1, 3, 17, 1000}) {
    for (const std::string_view from : {"", "th e'", " \n\t", "aab"}) {
      const std::string some = random_bytes(random, length, from);
      CHECK(v.decode(v.encode(some)) == some);
      const BytePairEncoding own = BytePairEncoding::learn(some, 400);
      CHECK(own.decode(own.encode(some)) == some);
    }
  }
  // One long piece, in which each merge is near all others.
  const std::string acid = random_bytes(random, 300'000, "acgt");
  const BytePairEncoding bases = BytePairEncoding::learn(acid, 512);
  CHECK(bases.decode(bases.encode(acid)) == acid);
  const std::string same(300'000, 'a');
  const BytePairEncoding doubled = BytePairEncoding::learn(same, 512);
  CHECK(doubled.token(doubled.size() - 1).size() <= 256);
  CHECK(doubled.size() == 256 + 8);
  CHECK(doubled.decode(doubled.encode(same)) == same);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(60));

  CHECK(BytePairEncoding().size() == 256);
  CHECK(BytePairEncoding::learn("", 300).size() == 256);
  CHECK(BytePairEncoding::learn("abcdefg", 300).size() == 256);
  CHECK(BytePairEncoding::learn("ab ab", 300).size() == 257);
  CHECK(BytePairEncoding().encode("a\xff") == Tokens{97, 255});
  CHECK(BytePairEncoding().token(97) == "a");
  CHECK_THROWS_AS(BytePairEncoding::learn("", 255), kt::ValueError);
  CHECK_THROWS_AS(BytePairEncoding::learn("", (std::int64_t{1} << 24) + 1), kt::ValueError);
  CHECK_THROWS_WITH_AS((void)BytePairEncoding().decode(Tokens{256}),
                       "BytePairEncoding: token 256 at position 0 is out of range for 256 tokens",
                       kt::ValueError);
  CHECK_THROWS_AS((void)BytePairEncoding().token(-1), kt::ValueError);
}

TEST_CASE("byte pairs: files") {
  const Files directory;
  const auto path = directory.path() / "v";
  const BytePairEncoding v =
      BytePairEncoding::learn("the then \\\\\n\n\n\n \\\\ \xc3\xa9\xc3\xa9", 262);
  v.save(path);
  const BytePairEncoding read = BytePairEncoding::load(path);
  CHECK(read.merges() == v.merges());
  CHECK(read.encode("the \\\\ then\n\n") == v.encode("the \\\\ then\n\n"));
  BytePairEncoding().save(path);
  CHECK(contents(path) == bytes_of("kroton byte pairs 1\n0 merges\n"));
  CHECK(BytePairEncoding::load(path).size() == 256);

  const auto error = [&](const std::string& text) {
    const std::string message =
        error_of([&] { return BytePairEncoding::load(directory.write("v", bytes_of(text))); });
    CHECK(message.starts_with(path.string() + ": line "));
    return message.substr(std::min(path.string().size() + 2, message.size()));
  };
  const std::string head = "kroton byte pairs 1\n";
  CHECK(error("") == "line 1: expected \"kroton byte pairs 1\", got the end of the file");
  CHECK(error("x\n") == "line 1: expected \"kroton byte pairs 1\", got \"x\"");
  CHECK(error("x") == "line 1: expected \"kroton byte pairs 1\" and a line break");
  CHECK(error(head) == "line 2: expected the number of merges, got the end of the file");
  CHECK(error(head + "-1 merges\n") ==
        "line 2: expected a number of merges up to 16776960, got \"-1 merges\"");
  CHECK(error(head + "99999999999999999999 merges\n").starts_with("line 2: expected a number"));
  CHECK(error(head + "2 merges\n116 104 th\n") ==
        "line 4: expected merge 2 of 2, got the end of the file");
  CHECK(error(head + "1 merges\n116 104 th\n\n") ==
        "line 4: expected the end of the file after the last merge");
  CHECK(error(head + "1 merges\n116 104 ti\n") ==
        "line 3: tokens 116 and 104 are \"th\", got \"ti\"");
  CHECK(error(head + "1 merges\n116 256 th\n") ==
        "line 3: expected two tokens below 256, got \"116 256 th\"");
  CHECK(error(head + "1 merges\n116 th\n") ==
        "line 3: expected two tokens and their text, got \"116 th\"");
  CHECK(error(head + "2 merges\n97 98 ab\n97 98 ab\n") ==
        "line 4: tokens 97 and 98 are merged twice");
  std::string doubling = head + "60 merges\n97 97 aa\n";
  std::string token = "aa";
  for (int k = 256; token.size() <= 256; ++k) {
    token += token;
    doubling += std::to_string(k) + ' ' + std::to_string(k) + ' ' + token + '\n';
  }
  CHECK(error(doubling) == "line 11: a token of 512 bytes, above 256");
  CHECK(error_of([] { return BytePairEncoding::load("/nowhere/v"); }) ==
        "/nowhere/v: no such file");
  CHECK(error_of([&] {
          v.save("/nowhere/v");
          return 0;
        }).starts_with("/nowhere/v: "));
}
