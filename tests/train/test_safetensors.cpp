// Files of the safetensors format: what others write, round trips, and what is no such file.
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <limits>
#include <thread>

#include "tests/tools/error_text.h"
#include "tests/train/array_file_tools.h"

using namespace array_files;  // NOLINT: tests
using namespace error_text;   // NOLINT: tests

namespace {

Bytes file_of(const std::string& header, std::size_t data_bytes) {
  Bytes bytes;
  append(bytes, header.size(), 8);
  bytes = joined(bytes, bytes_of(header));
  bytes.resize(bytes.size() + data_bytes);
  return bytes;
}

// The message, without the file's name.
std::string error_in(const Files& directory, const Bytes& bytes) {
  const auto path = directory.write("f", bytes);
  const std::string message = error_of([&] { return kt::load_safetensors(path); });
  const std::string prefix = path.string() + ": ";
  return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

}  // namespace

TEST_CASE("safetensors: what PyTorch writes, of every dtype") {
  const Files directory;
  const auto path = directory.write("f.safetensors", written_by_others().at("dtypes.safetensors"));
  const Arrays arrays = kt::load_safetensors(path);
  CHECK(arrays.size() == 11 + 2 * 8);
  for (const auto& [name, array] : arrays) {
    CAPTURE(name);
    const std::string kind = name.substr(0, name.find('.'));
    CHECK(kt::array_equal(array, numbers(array.shape(), kind, dtype_of_kind(kind))));
    std::string sizes;
    for (const std::int64_t size : array.shape()) {
      sizes += (sizes.empty() ? "" : "x") + std::to_string(size);
    }
    CHECK(name == kind + '.' + (sizes.empty() ? "scalar" : sizes));
  }
  CHECK(kt::read_safetensors_metadata(path) ==
        std::map<std::string, std::string>{{"format", "pt"}, {"a \"key\"", "line\nä€😀"}});
}

TEST_CASE("safetensors: PyTorch's names, halves, and no tensor at all") {
  const Files directory;
  const auto load = [&](const std::string& name) {
    return kt::load_safetensors(directory.write("f", written_by_others().at(name)));
  };
  CHECK(load("names.safetensors").contains("quote \" \\ ä€😀\n"));
  CHECK(load("empty.safetensors").empty());
  const Arrays halves = load("halves.safetensors");
  const float inf = std::numeric_limits<float>::infinity();
  const kt::Array f16 = kt::Array::from(
      {0.0F, -0.0F, 1.0F, -2.0F, 65504.0F, 0x1p-24F, -0x1p-15F, 0x1.554p-2F, inf, -inf, NAN});
  const kt::Array bf16 = kt::Array::from(
      {0.0F, -0.0F, 1.0F, -2.0F, 65536.0F, 0x1p-24F, -0x1p-15F, 0x1.56p-2F, inf, -inf, NAN});
  CHECK(kt::array_equal(halves.at("f16"), f16.cast(kt::f16), true));
  CHECK(kt::array_equal(halves.at("bf16"), bf16.cast(kt::bf16), true));
  CHECK(halves.at("f16").data<kt::float16>()[1].bits() == 0x8000);
  CHECK(halves.at("bf16").data<kt::bfloat16>()[1].bits() == 0x8000);
}

TEST_CASE("safetensors: round trips") {
  const Files directory;
  const auto path = directory.path() / "f";
  Arrays arrays = samples();
  arrays["quote \" \\ \t ä€😀"] = kt::Array::from({1.5F});
  arrays[""] = kt::Array::from({true, false});
  std::vector<float> grid = {1, 2, 3, 4, 5, 6};
  arrays["strided"] = kt::Array::view(grid.data(), {3, 2}, {1, 3});
  const std::map<std::string, std::string> metadata = {{"epoch", "3"}, {"\x01 \"", "\n\\ä"}};
  kt::save_safetensors(path, arrays, metadata);
  check_same(kt::load_safetensors(path), arrays);
  CHECK(kt::read_safetensors_metadata(path) == metadata);
  // The same again gives the same bytes; the header and all elements are aligned.
  const Bytes first = contents(path);
  kt::save_safetensors(path, arrays, metadata);
  CHECK(contents(path) == first);
  CHECK(first[0] % 8 == 0);
  kt::save_safetensors(path, {});
  CHECK(contents(path) == file_of("{}      ", 0));
  CHECK(kt::load_safetensors(path).empty());
  CHECK(kt::read_safetensors_metadata(path).empty());
  CHECK(std::filesystem::directory_iterator(directory.path()) !=
        std::filesystem::directory_iterator());
  CHECK_FALSE(std::filesystem::exists(path.string() + ".tmp"));
}

TEST_CASE("safetensors: all bits of numbers are kept") {
  const Files directory;
  const auto path = directory.path() / "f";
  const float payload = std::bit_cast<float>(0x7fa12345U);
  const Arrays arrays = {{"f32", kt::Array::from({payload, -0.0F, 0x1p-149F})},
                         {"i64", kt::Array::from({std::numeric_limits<std::int64_t>::min(),
                                                  std::numeric_limits<std::int64_t>::max()})}};
  kt::save_safetensors(path, arrays);
  const Arrays read = kt::load_safetensors(path);
  CHECK(std::bit_cast<std::uint32_t>(read.at("f32").data<float>()[0]) == 0x7fa12345U);
  CHECK(std::bit_cast<std::uint32_t>(read.at("f32").data<float>()[1]) == 0x80000000U);
  CHECK(std::bit_cast<std::uint32_t>(read.at("f32").data<float>()[2]) == 1);
  CHECK(kt::array_equal(read.at("i64"), arrays.at("i64")));
}

TEST_CASE("safetensors: hostile lengths") {
  const Files directory;
  CHECK(error_in(directory, {}) ==
        "at byte 0: the file ends in the length of the header: expected 8 bytes, got 0");
  CHECK(error_in(directory, {2, 0, 0}) ==
        "at byte 3: the file ends in the length of the header: expected 8 bytes, got 3");
  CHECK(error_in(directory, Bytes(8, 0)) ==
        "at byte 8: expected '{', which begins the header, got the end of the header");
  CHECK(error_in(directory, joined({3, 0, 0, 0, 0, 0, 0, 0}, {'{', '}'})) ==
        "at byte 0: a header of 3 bytes is announced; the file has 2 more");
  CHECK(error_in(directory, Bytes(10, 0xff)) ==
        "at byte 0: a header of 18446744073709551615 bytes is announced; the format allows "
        "100000000");
  const auto absent = directory.path() / "absent";
  CHECK(error_of([&] { return kt::load_safetensors(absent); }) ==
        absent.string() + ": no such file");
  CHECK(error_of([&] { return kt::load_safetensors(directory.path()); }) ==
        directory.path().string() + ": not a file");
  const auto pipe = directory.path() / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(error_of([&] { return kt::load_safetensors(pipe); }) == pipe.string() + ": not a file");
}

TEST_CASE("safetensors: hostile tensors") {
  const Files directory;
  const auto error = [&](const std::string& fields, std::size_t data_bytes) {
    return error_in(directory, file_of("{" + fields + "}", data_bytes));
  };
  const std::string a = tensor("a", "F32", "[2]", "[0,8]");
  CHECK(error(a, 8) == "no error");
  CHECK(error(a, 7) == "at byte 9: tensor \"a\": its data ends at byte 70, the file at 69");
  CHECK(error(a, 9) == "at byte 70: no tensor has the bytes from here to the end, 71");
  CHECK(error(a + "," + tensor("b", "I32", "[1]", "[4,8]"), 8) ==
        "at byte 62: tensor \"b\": its data begins at byte 119, inside that of another tensor, "
        "which ends at 123");
  CHECK(error(a + "," + tensor("b", "I32", "[1]", "[12,16]"), 16) ==
        "at byte 125: no tensor has the bytes up to 129, where the data of \"b\" begins");
  CHECK(error(tensor("a", "F32", "[2]", "[4,12]"), 12) ==
        "at byte 63: no tensor has the bytes up to 67, where the data of \"a\" begins");
  CHECK(error(tensor("a", "F32", "[2]", "[0,4]"), 4) ==
        "at byte 13: tensor \"a\": its shape (2,) takes 8 bytes, its offsets are 0 and 4");
  CHECK(error(tensor("a", "F32", "[2]", "[8,0]"), 8) ==
        "at byte 13: tensor \"a\": its shape (2,) takes 8 bytes, its offsets are 8 and 0");
  CHECK(error(tensor("a", "F32", "[2]", "[9223372036854775799,9223372036854775807]"), 8) ==
        "at byte 9: tensor \"a\": its data ends at byte 9223372036854775905, the file at 106");
  CHECK(error(tensor("a", "F32", "[4611686018427387904]", "[0,0]"), 0) ==
        "at byte 13: tensor \"a\": more elements than 63 bits count: (4611686018427387904,)");
  CHECK(error(tensor("a", "I8", "[4611686018427387904,0,2]", "[0,0]"), 0) ==
        "at byte 13: tensor \"a\": more elements than 63 bits count: (4611686018427387904, 0, 2)");
  CHECK(error(tensor("a", "F32", "[4611686018427387904,0]", "[0,0]"), 0) ==
        "at byte 13: tensor \"a\": more elements than 63 bits count: (4611686018427387904, 0)");
  CHECK(error(tensor("a", "F32", "[1000000000000]", "[0,4000000000000]"), 4) ==
        "at byte 9: tensor \"a\": its data ends at byte 4000000000086, the file at 90");
  CHECK(error(tensor("a", "F8_E5M2", "[2]", "[0,2]"), 2) ==
        "at byte 22: tensor \"a\": the dtype \"F8_E5M2\" is none that can be read");
  CHECK(error(a + "," + a, 8) == "at byte 62: two tensors \"a\"");
  CHECK(error(a + "," + tensor("\\u0061", "F32", "[0]", "[8,8]"), 8) ==
        "at byte 62: two tensors \"a\"");
  CHECK(error(tensor("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4) ==
        "at byte 53: tensor \"a\": more than 8 axes");
  std::string many = "[1";
  for (int k = 1; k < 1'000'000; ++k) many += ",1";
  CHECK(error(tensor("a", "F32", many + "]", "[0,4]"), 4) ==
        "at byte 53: tensor \"a\": more than 8 axes");
  CHECK(error("\"a\":{\"dtype\":\"F32\",\"shape\":[2]}", 8) ==
        "at byte 13: tensor \"a\": the field data_offsets is missing");
  CHECK(error("\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}", 8) ==
        "at byte 28: tensor \"a\": two fields dtype");
  CHECK(error("\"a\":{\"color\":\"red\"}", 8) ==
        "at byte 14: tensor \"a\": the format has no field \"color\"");
  CHECK(error(tensor("a", "F32", "[-1]", "[0,4]"), 4) ==
        "at byte 37: tensor \"a\": expected an extent, a whole number, got \"-\"");
}

TEST_CASE("safetensors: hostile JSON") {
  const Files directory;
  const auto error = [&](const std::string& header) {
    return error_in(directory, file_of(header, 0));
  };
  CHECK(error("[]") == "at byte 8: expected '{', which begins the header, got \"[\"");
  CHECK(error("{") == "at byte 9: expected a name in quotes, got the end of the header");
  CHECK(error("{}}") == "at byte 10: expected the end of the header, got \"}\"");
  CHECK(error("{},") == "at byte 10: expected the end of the header, got \",\"");
  CHECK(error("{\"a\"") == "at byte 12: expected ':', got the end of the header");
  CHECK(error("{\"a") == "at byte 11: the header ends in a string");
  CHECK(error("{\"a\":1}") == "at byte 13: tensor \"a\": expected '{', got \"1\"");
  CHECK(error("{\"a\":{\"shape\":[1.5]}}") ==
        "at byte 24: tensor \"a\": expected ',' or ']', got \".\"");
  CHECK(error("{\"a\":{\"shape\":[1e9]}}") ==
        "at byte 24: tensor \"a\": expected ',' or ']', got \"e\"");
  CHECK(error("{\"a\":{\"shape\":[-1]}}") ==
        "at byte 23: tensor \"a\": expected an extent, a whole number, got \"-\"");
  CHECK(error("{\"a\":{\"shape\":[01]}}") ==
        "at byte 23: tensor \"a\": a number with a 0 in front");
  CHECK(error("{\"a\":{\"shape\":[9223372036854775808]}}") ==
        "at byte 23: tensor \"a\": a number that 63 bits do not hold");
  CHECK(error("{\"a\":{\"shape\":[1,]}}") ==
        "at byte 25: tensor \"a\": expected an extent, a whole number, got \"]\"");
  CHECK(error("{\"a\":{},}") == "at byte 13: tensor \"a\": the field dtype is missing");
  CHECK(error("{\"__metadata__\":{},}") == "at byte 27: expected a name in quotes, got \"}\"");
  CHECK(error("{\"__metadata__\":{\"a\":1}}") ==
        "at byte 29: __metadata__: expected a text in quotes, got \"1\"");
  CHECK(error("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}") ==
        "at byte 32: __metadata__: two texts \"a\"");
  CHECK(error("{\"__metadata__\":{},\"__metadata__\":{}}") ==
        "at byte 27: two fields __metadata__");
  CHECK(error("{\"a\xff\":{}}") == "at byte 11: the header is not UTF-8");
  CHECK(error("{\"\xc0\x80\":{}}") == "at byte 10: the header is not UTF-8");
  CHECK(error("{\"\xed\xa0\x80\":{}}") == "at byte 10: the header is not UTF-8");
  CHECK(error("{\"\xf4\x90\x80\x80\":{}}") == "at byte 10: the header is not UTF-8");
  CHECK(error("{\"\xe2\x82") == "at byte 10: the header is not UTF-8");
  CHECK(error("{\"\\x41\":{}}") == "at byte 10: an escape that JSON does not have");
  CHECK(error("{\"\\u12g4\":{}}") == "at byte 14: \\u without four hexadecimal digits");
  CHECK(error("{\"\\ud800\":{}}") == "at byte 10: half of a surrogate pair");
  CHECK(error("{\"\\ud800\\u0041\":{}}") == "at byte 10: half of a surrogate pair");
  CHECK(error("{\"\\udc00\":{}}") == "at byte 10: half of a surrogate pair");
  CHECK(error("{\"a\nb\":{}}") == "at byte 11: a control character in a string");
  // Nothing nests deeper than the format does.
  CHECK(error("{\"a\":" + std::string(1'000'000, '[')) ==
        "at byte 13: tensor \"a\": expected '{', got \"[\"");
  std::string deep;
  for (int k = 0; k < 100'000; ++k) deep += "{\"a\":";
  CHECK(error(deep) == "at byte 14: tensor \"a\": the format has no field \"a\"");
  CHECK(error("{\"a\":{\"shape\":" + std::string(1'000'000, '[')) ==
        "at byte 23: tensor \"a\": expected an extent, a whole number, got \"[\"");
  // A name of a million letters is shown in part.
  CHECK(error("{\"" + std::string(1'000'000, 'x') + "\":1}") ==
        "at byte 1000012: tensor \"" + std::string(80, 'x') + "...\": expected '{', got \"1\"");
  CHECK(error("{\"\\u001b[31m\":1}") == "at byte 22: tensor \"?[31m\": expected '{', got \"1\"");
}

TEST_CASE("safetensors: elements that cannot be") {
  const Files directory;
  Bytes boolean = file_of("{" + tensor("a", "BOOL", "[3]", "[0,3]") + "}", 3);
  boolean.back() = 2;
  CHECK(error_in(directory, boolean) == "at byte " + std::to_string(boolean.size() - 1) +
                                            ": tensor \"a\": a boolean is 0 or 1, not 2");
}

TEST_CASE("safetensors: what cannot be written") {
  const Files directory;
  const auto path = directory.write("f", {1, 2, 3});
  const Arrays one = {{"a", kt::Array::from({1.0F})}};
  CHECK(value_error([&] { kt::save_safetensors(path, {{"\xff", kt::Array()}}); }) ==
        "save_safetensors: the name \"?\" is not UTF-8");
  CHECK(value_error([&] { kt::save_safetensors(path, {{"__metadata__", kt::Array()}}); }) ==
        "save_safetensors: a tensor cannot be named __metadata__");
  CHECK(value_error([&] { kt::save_safetensors(path, one, {{"\xff", ""}}); }) ==
        "save_safetensors: the metadata's key \"?\" is not UTF-8");
  CHECK(value_error([&] { kt::save_safetensors(path, one, {{"a", "\x80"}}); }) ==
        "save_safetensors: the metadata's text \"?\" is not UTF-8");
  CHECK(contents(path) == Bytes{1, 2, 3});
  const auto nowhere = directory.path() / "absent" / "f";
  CHECK(error_of([&] { kt::save_safetensors(nowhere, one); }) ==
        nowhere.string() + ": cannot be written: No such file or directory");
  CHECK(error_of([&] { kt::save_safetensors(directory.path() / "", one); }) ==
        directory.path().string() + "/: cannot be written: not a file's name");
  const auto folder = directory.path() / "folder";
  std::filesystem::create_directory(folder);
  CHECK(error_of([&] { kt::save_safetensors(folder, one); }) ==
        folder.string() + ": cannot be put in place: Is a directory");
  CHECK_FALSE(std::filesystem::exists(folder.string() + ".tmp"));
}

TEST_CASE("safetensors: temporary files") {
  const Files directory;
  const auto path = directory.path() / "f";
  const std::string temporary = path.string() + ".tmp";
  const Arrays one = {{"a", kt::Array::from({1.0F})}};
  // What a killed process has left is used again.
  directory.write("f.tmp", Bytes(1000, 1));
  kt::save_safetensors(path, one);
  check_same(kt::load_safetensors(path), one);
  CHECK_FALSE(std::filesystem::exists(temporary));
  // A link is not followed, and a file with another name is not touched.
  const auto victim = directory.write("victim", {7});
  std::filesystem::create_symlink(victim, temporary);
  kt::save_safetensors(path, one);
  std::filesystem::remove(temporary);
  std::filesystem::create_hard_link(victim, temporary);
  kt::save_safetensors(path, one);
  CHECK(contents(victim) == Bytes{7});
  std::filesystem::remove(temporary);
  std::filesystem::create_directory(temporary);
  kt::save_safetensors(path, one);
  check_same(kt::load_safetensors(path), one);
}

TEST_CASE("safetensors: threads that write one file leave a whole one") {
  const Files directory;
  const auto path = directory.path() / "f";
  std::vector<std::thread> threads;
  for (int k = 0; k < 4; ++k) {
    threads.emplace_back([&, k] {
      for (int i = 0; i < 10; ++i) {
        kt::save_safetensors(path, {{"a", kt::Array::full({20000}, k)}});
        const kt::Array read = kt::load_safetensors(path).at("a");
        if (read.data<float>()[0] != read.data<float>()[19999]) std::abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const kt::Array read = kt::load_safetensors(path).at("a");
  CHECK(kt::array_equal(read, kt::Array::full({20000}, read.data<float>()[0])));
  CHECK(std::distance(std::filesystem::directory_iterator(directory.path()), {}) == 1);
}

TEST_CASE("safetensors: a disk that is full, and a process that dies while it writes") {
  const Files directory;
  const auto path = directory.path() / "f";
  const Arrays old = {{"a", kt::Array::full({10000}, 1)}},
               replacement = {{"a", kt::Array::full({10000}, 2)}};
  kt::save_safetensors(path, old);
  // The system stops writing at a size, with an error or by a signal that kills the process.
  for (const bool dies : {false, true}) {
    for (const rlim_t most : {0, 1, 70, 71, 20000, 40063}) {
      const pid_t child = ::fork();
      REQUIRE(child >= 0);
      if (child == 0) {
        const rlimit limit{most, most};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        const rlimit no_core{0, 0};
        ::setrlimit(RLIMIT_CORE, &no_core);
        ::signal(SIGXFSZ, dies ? SIG_DFL : SIG_IGN);
        const std::string message = error_of([&] { kt::save_safetensors(path, replacement); });
        ::_exit(message == path.string() + ": cannot be written from byte " + std::to_string(most) +
                               ": File too large"
                    ? 0
                    : 1);
      }
      int status = 0;
      REQUIRE(::waitpid(child, &status, 0) == child);
      CAPTURE(most);
      CHECK((dies ? WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ
                  : WIFEXITED(status) && WEXITSTATUS(status) == 0));
      CHECK(std::filesystem::exists(path.string() + ".tmp") == dies);
      check_same(kt::load_safetensors(path), old);
      std::filesystem::remove(path.string() + ".tmp");
    }
  }
  kt::save_safetensors(path, replacement);
  check_same(kt::load_safetensors(path), replacement);
}
