// Texts as numbers: characters, words, byte pairs; and data sets of sequences.
//
//     std::string text = kt::data::read_text("shakespeare.txt");
//     kt::data::CharacterVocabulary characters(text);
//     kt::Array tokens = kt::Array::from(characters.encode(text));
//     kt::data::Loader loader(kt::data::windows(tokens, 64, {.stride = 1}), {.batch = 12});
#pragma once
#include <kroton/array.h>
#include <kroton/dataset.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kroton::data {

struct TextOptions {
  bool bytes = false;  // any bytes, not UTF-8
};
// A whole file, gzipped or not, without a byte order mark. IoError, naming the file and the byte
// offset (of the decompressed data), for one that is missing or damaged, and for the first byte
// that is not well-formed UTF-8.
std::string read_text(const std::filesystem::path& path, const TextOptions& options = {});

// The tokens of all vocabularies are 0 to size() - 1. decode() throws a ValueError for another one,
// with its position, and a TypeError for an array of another dtype than i32 and i64; of an array it
// takes the elements in row-major order.

struct CharacterOptions {
  // Token 0 is any character that is not in the vocabulary; it is decoded as U+FFFD.
  bool unknown = false;
};
// The characters of a text (Unicode code points), in the order of their numbers. Texts are UTF-8:
// ValueError, with the byte offset, for others.
class CharacterVocabulary {
 public:
  explicit CharacterVocabulary(std::string_view text, const CharacterOptions& options = {});

  std::int64_t size() const;
  // ValueError for a character that is not in the vocabulary, with its byte offset, unless there is
  // a token for it.
  std::vector<std::int64_t> encode(std::string_view text) const;
  std::string decode(std::span<const std::int64_t> tokens) const;
  std::string decode(const Array& tokens) const;
  // All of them, one after the other: a text that gives the same vocabulary again.
  std::string characters() const;

 private:
  CharacterOptions options_;
  std::vector<char32_t> characters_;  // sorted
};

struct WordOptions {
  std::int64_t most = 0;      // words, the unknown one included; 0: all
  bool lower_case = false;    // ASCII, Latin-1, Greek and Cyrillic letters
  std::int64_t at_least = 1;  // how often a word occurs in the text
};
// The most frequent words of a text, most frequent first, of equally frequent ones in the order of
// their bytes. A word is letters, digits and _ in a row, with ' between two of them; characters
// beyond ASCII are letters. Any other character but blanks is a word by itself. Texts need not be
// UTF-8.
class WordVocabulary {
 public:
  // ValueError for options out of range.
  explicit WordVocabulary(std::string_view text, const WordOptions& options = {});
  // Of these words, those of words(), numbered from 1. ValueError for one that is listed twice.
  static WordVocabulary of(const std::vector<std::string>& words, bool lower_case = false);

  static constexpr std::int64_t unknown = 0;  // the token of words that are not in the vocabulary
  std::int64_t size() const { return static_cast<std::int64_t>(words_.size()); }
  std::vector<std::int64_t> encode(std::string_view text) const;
  // Words with blanks between, "<unknown>" among them.
  std::string decode(std::span<const std::int64_t> tokens) const;
  std::string decode(const Array& tokens) const;
  // In the order of their tokens, the unknown one left out.
  std::vector<std::string> words() const;

 private:
  WordVocabulary() = default;
  void add(const std::string& word);
  bool lower_case_ = false;
  std::vector<std::string> words_ = {"<unknown>"};
  std::unordered_map<std::string, std::int64_t> tokens_;
};

// Byte pair encoding: tokens are the 256 bytes, and what merging the most frequent pair of
// neighbours gives, again and again. Every text is encoded, and decoded to the same bytes.
//
// Merges stay within pieces of the text: a blank with the letters, the digits or the other
// characters that follow it; 's, 't, 're, 've, 'm, 'll and 'd; blanks in a row, of which the last
// one, if it is a space, belongs to what follows. Bytes beyond ASCII count as letters, and of ASCII
// the six of isspace() as blanks. (GPT-2 splits so by the classes of Unicode; the pieces of an
// ASCII text are the same.)
// Sources: Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword Units",
// 2016, https://arxiv.org/abs/1508.07909; Radford et al., "Language Models are Unsupervised
// Multitask Learners", 2019.
class BytePairEncoding {
 public:
  // The bytes alone.
  BytePairEncoding();
  // Learns from a text. Of equally frequent pairs the one of the lower tokens is merged, by the
  // left one first. There are fewer tokens than `vocabulary_size` where no pair is left that occurs
  // twice. No token stands for more than 256 bytes. ValueError unless 256 <= vocabulary_size <=
  // 2^24.
  static BytePairEncoding learn(std::string_view text, std::int64_t vocabulary_size);

  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  std::vector<std::int64_t> encode(std::string_view text) const;
  std::string decode(std::span<const std::int64_t> tokens) const;
  std::string decode(const Array& tokens) const;
  // The bytes of a token. ValueError for one that there is not.
  std::string_view token(std::int64_t token) const;
  // Which two tokens each token from 256 on is made of.
  const std::vector<std::pair<std::int64_t, std::int64_t>>& merges() const { return merges_; }

  // A file of lines: "kroton byte pairs 1", the number of merges, and for each its two tokens and
  // its text. The old file is intact until the new one is complete. IoError where it cannot be
  // written.
  void save(const std::filesystem::path& path) const;
  // IoError, naming the file and the line, for a file that is missing, damaged or no such file.
  static BytePairEncoding load(const std::filesystem::path& path);

 private:
  void add(std::int64_t left, std::int64_t right);
  std::vector<std::pair<std::int64_t, std::int64_t>> merges_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::uint64_t, std::int64_t> merged_;  // the token of a pair
};

struct WindowOptions {
  std::int64_t stride = 0;  // from the start of a window to the next one's; 0: the length
};
// For language models: example k is `length` tokens from token k * stride on, its labels are the
// tokens that follow each of them. x and labels are i64 (batch, length). `tokens` is an array (n)
// of i64 or i32. ShapeError for another shape, TypeError for another dtype, ValueError where there
// are not length + 1 tokens, for length < 1 and stride < 0.
Dataset windows(const Array& tokens, std::int64_t length, const WindowOptions& options = {});

struct SequenceOptions {
  std::int64_t padding = 0;         // the token that fills up
  std::int64_t label_padding = -1;  // the label that does: CrossEntropyOptions::ignored_label
  std::int64_t longest = 0;         // tokens of a sequence that are kept, the first; 0: all
};
// Sequences of tokens with a label each: x is i64 (batch, steps), filled up to the longest of the
// batch, labels i64 (batch), mask f32 (batch, steps). The data set knows the lengths, for
// LoaderOptions::by_length. ShapeError where there are not as many labels as sequences, ValueError
// for a negative `longest`.
Dataset sequences(std::vector<std::vector<std::int64_t>> sequences,
                  std::vector<std::int64_t> labels, const SequenceOptions& options = {});
// With a label for each token: labels are i64 (batch, steps), filled up too. ShapeError also where
// a sequence has not as many labels as tokens.
Dataset sequences(std::vector<std::vector<std::int64_t>> sequences,
                  std::vector<std::vector<std::int64_t>> labels,
                  const SequenceOptions& options = {});

}  // namespace kroton::data
