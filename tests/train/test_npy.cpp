// NumPy's files: what it writes, round trips, and what is no such file.
#include <zlib.h>

#include <cmath>
#include <limits>

#include "tests/tools/error_text.h"
#include "tests/train/array_file_tools.h"

using namespace array_files;  // NOLINT: tests
using namespace error_text;   // NOLINT: tests

namespace {

Bytes npy(const std::string& header, std::size_t data_bytes) {
  Bytes bytes = bytes_of("\x93NUMPY");
  append(bytes, 1, 2);
  append(bytes, header.size(), 2);
  bytes = joined(bytes, bytes_of(header));
  bytes.resize(bytes.size() + data_bytes);
  return bytes;
}

// The header for a dtype and a shape.
std::string fields(const std::string& descr, const std::string& shape) {
  return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
}

// The message of a reader, without the file's name.
template <class Load>
std::string error_in(const Files& directory, const Bytes& bytes, const Load& load) {
  const auto path = directory.write("f", bytes);
  const std::string message = error_of([&] { return load(path); });
  const std::string prefix = path.string() + ": ";
  return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
}

std::string npy_error(const Files& directory, const Bytes& bytes) {
  return error_in(directory, bytes, kt::load_npy);
}
std::string npz_error(const Files& directory, const Bytes& bytes) {
  return error_in(directory, bytes, kt::load_npz);
}

// An archive of members that may say anything of themselves.
struct ZipMember {
  std::string name;
  Bytes packed;
  std::uint64_t size = 0;
  std::uint32_t checksum = 0;
  int method = 0;
  std::uint64_t packed_size = 0;
  std::string local_name = name;
  std::uint64_t flags = 0;
};

ZipMember member(const std::string& name, const Bytes& data) {
  ZipMember made{.name = name, .packed = data, .size = data.size(), .packed_size = data.size()};
  made.checksum =
      static_cast<std::uint32_t>(::crc32(0, data.data(), static_cast<uInt>(data.size())));
  return made;
}

ZipMember deflated_member(const std::string& name, const Bytes& data) {
  ZipMember made = member(name, data);
  made.method = 8;
  made.packed.resize(data.size() + 1000);
  z_stream zlib{};
  REQUIRE(deflateInit2(&zlib, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) ==
          Z_OK);
  zlib.next_in = const_cast<Bytef*>(data.data());
  zlib.avail_in = static_cast<uInt>(data.size());
  zlib.next_out = made.packed.data();
  zlib.avail_out = static_cast<uInt>(made.packed.size());
  REQUIRE(deflate(&zlib, Z_FINISH) == Z_STREAM_END);
  made.packed.resize(zlib.total_out);
  deflateEnd(&zlib);
  made.packed_size = made.packed.size();
  return made;
}

Bytes zip(const std::vector<ZipMember>& members) {
  Bytes bytes, directory;
  for (const ZipMember& m : members) {
    const std::size_t offset = bytes.size();
    const auto append_common = [&](Bytes& to) {
      append(to, 20, 2);
      append(to, m.flags, 2);
      append(to, static_cast<std::uint64_t>(m.method), 2);
      append(to, 0, 4);
      append(to, m.checksum, 4);
      append(to, m.packed_size, 4);
      append(to, m.size, 4);
    };
    append(bytes, 0x04034b50, 4);
    append_common(bytes);
    append(bytes, m.local_name.size(), 2);
    append(bytes, 0, 2);
    bytes = joined(joined(bytes, bytes_of(m.local_name)), m.packed);
    append(directory, 0x02014b50, 4);
    append(directory, 20, 2);
    append_common(directory);
    append(directory, m.name.size(), 2);
    append(directory, 0, 2);
    append(directory, 0, 8);
    append(directory, 0, 2);
    append(directory, offset, 4);
    directory = joined(directory, bytes_of(m.name));
  }
  const std::size_t begin = bytes.size();
  bytes = joined(bytes, directory);
  append(bytes, 0x06054b50, 4);
  append(bytes, 0, 4);
  append(bytes, members.size(), 2);
  append(bytes, members.size(), 2);
  append(bytes, directory.size(), 4);
  append(bytes, begin, 4);
  append(bytes, 0, 2);
  return bytes;
}

}  // namespace

TEST_CASE("npy: what NumPy writes") {
  const Files directory;
  int read = 0;
  for (const auto& [name, bytes] : written_by_others()) {
    if (!name.ends_with(".npy")) continue;
    const std::string kind = name.substr(0, name.find('.'));
    if (kind == "halves" || kind == "complex" || kind == "text" || kind == "structure") continue;
    CAPTURE(name);
    const kt::Array array = kt::load_npy(directory.write(name, bytes));
    const bool is_kind = name.ends_with(".little.npy") || name.ends_with(".big.npy");
    if (is_kind && kind != "fortran") {
      CHECK(kt::array_equal(array, numbers({2, 3}, kind, dtype_of_kind(kind))));
    } else {
      const bool is_f64 = name == "fortran.big.npy";
      CHECK(kt::array_equal(array, numbers(array.shape(), "", is_f64 ? kt::f64 : kt::f32)));
    }
    ++read;
  }
  CHECK(read == 41);
  const auto shape = [&](const std::string& name) {
    return kt::load_npy(directory.path() / name).shape();
  };
  CHECK(shape("fortran.2x3x4.npy") == kt::Shape{2, 3, 4});
  CHECK(shape("shape.scalar.npy") == kt::Shape{});
  CHECK(shape("fortran.2x0x3.npy") == kt::Shape{2, 0, 3});
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(kt::array_equal(kt::load_npy(directory.write("f", written_by_others().at("halves.npy"))),
                        kt::Array::from({0.0F, -0.0F, 1.0F, -2.0F, 65504.0F, 0x1p-24F, -0x1p-15F,
                                         0x1.554p-2F, inf, -inf, NAN})
                            .cast(kt::f16),
                        true));
}

TEST_CASE("npz: what NumPy writes, stored and deflated") {
  const Files directory;
  Arrays wanted = {{"w", numbers({2, 3}, "", kt::f32)},
                   {"fortran", numbers({2, 3}, "", kt::f32)},
                   {"layer.bias", kt::Array::arange(17, kt::i64)},
                   {"none", kt::Array::zeros({0, 3}, kt::f64)}};
  const auto load = [&](const std::string& name) {
    return kt::load_npz(directory.write("f", written_by_others().at(name)));
  };
  check_same(load("stored.npz"), wanted);
  wanted["long"] = kt::Array::zeros({3000}, kt::f64);
  check_same(load("deflated.npz"), wanted);
  CHECK(load("empty.npz").empty());
}

TEST_CASE("npy, npz: round trips") {
  const Files directory;
  const auto path = directory.path() / "f";
  Arrays arrays = samples();
  std::vector<float> grid = {1, 2, 3, 4, 5, 6};
  arrays["strided"] = kt::Array::view(grid.data(), {3, 2}, {1, 3});
  arrays["a/ä€😀"] = kt::Array::normal({1000, 30}, /*seed=*/1);
  for (const auto& [name, array] : arrays) {
    CAPTURE(name);
    kt::save_npy(path, array);
    CHECK(kt::array_equal(kt::load_npy(path), array));
    // The elements begin at a multiple of 64 bytes.
    CHECK((contents(path).size() - static_cast<std::size_t>(array.nbytes())) % 64 == 0);
  }
  for (const bool compress : {false, true}) {
    kt::save_npz(path, arrays, compress);
    check_same(kt::load_npz(path), arrays);
    const Bytes first = contents(path);
    kt::save_npz(path, arrays, compress);
    CHECK(contents(path) == first);
    kt::save_npz(path, {}, compress);
    CHECK(kt::load_npz(path).empty());
  }
  Arrays many;
  for (int k = 0; k < 66000; ++k)
    many[std::to_string(k)] = kt::Array(k);  // more than 16 bits count
  kt::save_npz(path, many);
  check_same(kt::load_npz(path), many);
}

TEST_CASE("npy: hostile files") {
  const Files directory;
  const auto error = [&](const Bytes& bytes) { return npy_error(directory, bytes); };
  CHECK(error(npy(fields("<f4", "(2,)"), 8)) == "no error");
  CHECK(error(npy("{\"shape\":(2L,),\"descr\":'=f4','fortran_order':True}", 8)) == "no error");
  CHECK(error({}) ==
        "at byte 0: the file ends in the magic string and version: expected 8 bytes, got 0");
  CHECK(error(Bytes(20, 'x')) == "at byte 0: not the magic string of a .npy file");
  Bytes version = npy(fields("<f4", "(2,)"), 8);
  version[6] = 4;
  CHECK(error(version) == "at byte 6: version 4.0 of the format; 1.0, 2.0 and 3.0 can be read");
  version[6] = 0xff;
  CHECK(error(version) == "at byte 6: version -1.0 of the format; 1.0, 2.0 and 3.0 can be read");
  Bytes large = bytes_of("\x93NUMPY");
  append(large, 2, 2);
  append(large, 0xffffffff, 4);
  CHECK(error(large) ==
        "at byte 8: a header of 4294967295 bytes is announced; there are 0 more, and at most "
        "1048576 are read");
  large.resize(9);
  CHECK(error(large) ==
        "at byte 9: the file ends in the length of the header: expected 12 bytes, got 9");
  CHECK(error(npy(fields("<f4", "(2,)"), 7)) ==
        "at byte 68: the shape (2,) takes 8 bytes, there are 7");
  CHECK(error(npy(fields("<f4", "(2,)"), 9)) ==
        "at byte 68: the shape (2,) takes 8 bytes, there are 9");
  CHECK(error(npy(fields("<f4", "(2)"), 8)) == "at byte 60: the shape is not a tuple");
  CHECK(error(npy(fields("<f4", "[2]"), 8)) == "at byte 60: expected '(', got \"[\"");
  CHECK(error(npy(fields("<f4", "(-2,)"), 8)) ==
        "at byte 61: expected an extent, a whole number, got \"-\"");
  CHECK(error(npy(fields("<f4", "(9223372036854775808,)"), 8)) ==
        "at byte 61: an extent that 63 bits do not hold");
  CHECK(error(npy(fields("<f4", "(4611686018427387904,)"), 8)) ==
        "at byte 10: more elements than 63 bits count: (4611686018427387904,)");
  CHECK(error(npy(fields("<f4", "(1000000000000,)"), 8)) ==
        "at byte 80: the shape (1000000000000,) takes 4000000000000 bytes, there are 8");
  CHECK(error(npy(fields("<f4", "(1,1,1,1,1,1,1,1,2)"), 8)) == "at byte 77: more than 8 axes");
  CHECK(error(npy(fields("<f4", "(0, 4611686018427387904)"), 0)) ==
        "at byte 10: more elements than 63 bits count: (0, 4611686018427387904)");
  CHECK(error(npy(fields("<f3", "(2,)"), 8)) ==
        "at byte 20: the dtype \"<f3\" is none that can be read");
  CHECK(error(npy(fields("|f4", "(2,)"), 8)) ==
        "at byte 20: the dtype \"|f4\" is none that can be read");
  CHECK(error(npy(fields("", "(2,)"), 8)) == "at byte 20: the dtype \"\" is none that can be read");
  CHECK(error(npy("", 8)) == "at byte 10: expected '{', got the end of the header");
  CHECK(error(npy("{}", 8)) == "at byte 10: the header lacks descr, fortran_order or shape");
  CHECK(error(npy("{'a': 1}", 8)) == "at byte 11: the format has no field \"a\"");
  CHECK(error(npy("{'descr': '<f4', 'descr': '<f4'}", 8)) == "at byte 27: two fields descr");
  CHECK(error(npy("{'descr': '<f4\\'}", 8)) ==
        "at byte 24: expected the end of a dtype, got \"\\\"");
  CHECK(error(npy("{'descr': '<f4", 8)) ==
        "at byte 24: expected the end of a dtype, got the end of the header");
  CHECK(error(npy("{'fortran_order': None}", 8)) ==
        "at byte 28: expected True or False, got \"N\"");
  CHECK(error(npy(fields("<f4", "(2,)") + "x", 8)) ==
        "at byte 68: expected the end of the header, got \"x\"");
  CHECK(error(npy(std::string(60000, '{'), 8)) ==
        "at byte 11: expected a name in quotes, got \"{\"");
  CHECK(error(npy("{'shape': " + std::string(60000, '('), 8)) ==
        "at byte 21: expected an extent, a whole number, got \"(\"");
  CHECK(error(written_by_others().at("complex.npy")) ==
        "at byte 20: the dtype \"<c8\" is none that can be read");
  CHECK(error(written_by_others().at("text.npy")) ==
        "at byte 20: the dtype \"<U2\" is none that can be read");
  CHECK(error(written_by_others().at("structure.npy")) ==
        "at byte 20: the elements are structures");
  Bytes boolean = npy(fields("|b1", "(3,)"), 3);
  boolean.back() = 9;
  CHECK(error(boolean) == "at byte 70: a boolean is 0 or 1, not 9");
  CHECK(error(npy(fields("|V1", "(3,)"), 3)) ==
        "at byte 20: the dtype \"|V1\" is none that can be read");
}

TEST_CASE("npz: hostile archives") {
  const Files directory;
  const auto error = [&](const Bytes& bytes) { return npz_error(directory, bytes); };
  const Bytes array = npy(fields("<f4", "(2,)"), 8);
  const ZipMember a = member("a.npy", array), b = member("b.npy", array);
  CHECK(error(zip({a, b})) == "no error");
  CHECK(error({}) == "at byte 0: there is no end of a ZIP archive from here on");
  CHECK(error(Bytes(100000, 0)) == "at byte 34443: there is no end of a ZIP archive from here on");
  CHECK(error(zip({a, a})) == "at byte 111: two members \"a.npy\"");
  CHECK(error(zip({member("a.txt", array)})) == "at byte 111: member \"a.txt\": not a .npy file");
  CHECK(error(zip({member("a.npy", bytes_of("no array"))})) ==
        "member \"a.npy\": at byte 0 of its data: not the magic string of a .npy file");
  const auto changed = [&](auto change) {
    ZipMember m = a;
    change(m);
    return error(zip({m, b}));
  };
  CHECK(changed([](ZipMember& m) { m.checksum ^= 1; }) ==
        "member \"a.npy\": at byte 0 of its data: wrong checksum (CRC-32)");
  CHECK(changed([](ZipMember& m) { m.method = 12; }) ==
        "at byte 222: member \"a.npy\": compressed by method 12; stored (0) and deflated (8) can "
        "be read");
  CHECK(changed([](ZipMember& m) { m.flags = 1; }) == "at byte 222: member \"a.npy\": encrypted");
  CHECK(changed([](ZipMember& m) { m.size += 1; }) ==
        "at byte 222: member \"a.npy\": 76 bytes cannot be 77 bytes of data");
  CHECK(changed([](ZipMember& m) { m.method = 8; }) ==
        "member \"a.npy\": at byte 0 of its data: the compressed data ends in the magic string and "
        "version");
  CHECK(changed([](ZipMember& m) { m.local_name = "x.npy"; }) ==
        "at byte 30: member \"a.npy\": it has another name here");
  CHECK(changed([](ZipMember& m) { m.packed_size = m.size = m.size + 10; }) ==
        "at byte 111: member \"b.npy\" begins in another one");
  CHECK(changed([](ZipMember& m) { m.packed_size = m.size = 100000; }) ==
        "at byte 0: member \"a.npy\": its 100000 bytes reach into the archive's directory");
  CHECK(changed([](ZipMember& m) { m.packed_size = m.size = 0xffffffff; }) ==
        "at byte 0: member \"a.npy\": its 4294967295 bytes reach into the archive's directory");
  CHECK(changed([](ZipMember& m) {
          m.method = 8;
          m.size = 0xfffffff0;
        }) == "at byte 222: member \"a.npy\": 76 bytes cannot be 4294967280 bytes of data");
  CHECK(changed([](ZipMember& m) { m.packed_size = m.size = m.size - 1; }) ==
        "member \"a.npy\": at byte 68 of its data: the shape (2,) takes 8 bytes, there are 7");
  Bytes whole = zip({a, b});
  const auto at = [&](std::size_t from_end, std::uint8_t value) {
    Bytes damaged = whole;
    damaged[damaged.size() - from_end] = value;
    return error(damaged);
  };
  CHECK(at(22, 0) == "at byte 0: there is no end of a ZIP archive from here on");
  CHECK(at(12, 3) == "at byte 324: 3 members in a directory of 102 bytes");
  CHECK(at(12, 1) == "at byte 273: the directory has more than its members");
  CHECK(at(10, 7) ==
        "at byte 324: the directory, 7 bytes from byte 222 on, does not end at byte 324");
  CHECK(at(6, 1) ==
        "at byte 324: the directory, 102 bytes from byte 1 on, does not end at byte 324");
  CHECK(at(18, 1) == "at byte 324: an archive in several parts");
  Bytes trailing = whole;
  trailing.push_back(0);
  CHECK(error(trailing) == "at byte 0: there is no end of a ZIP archive from here on");
}

TEST_CASE("npz: compressed data that is cut, that goes on, or that is none") {
  const Files directory;
  const auto error = [&](const ZipMember& m) { return npz_error(directory, zip({m})); };
  const Bytes array = npy(fields("<f4", "(2,)"), 8);
  CHECK(error(deflated_member("a.npy", array)) == "no error");
  Bytes longer = array;
  longer.push_back(0);
  ZipMember m = deflated_member("a.npy", longer);
  m.size = array.size();
  CHECK(error(m) == "member \"a.npy\": at byte 76 of its data: the compressed data goes on");
  m = deflated_member("a.npy", array);
  m.packed.push_back(0);
  ++m.packed_size;
  CHECK(error(m) ==
        "member \"a.npy\": at byte 76 of its data: the compressed data does not end here");
  m = deflated_member("a.npy", array);
  m.packed[0] |= 7;  // a kind of block that there is not
  CHECK(error(m) ==
        "member \"a.npy\": at byte 0 of its data: cannot be decompressed from here: invalid block "
        "type");
  m = deflated_member("a.npy", array);
  const Bytes whole = m.packed;
  for (std::size_t length = 0; length < whole.size(); ++length) {
    m.packed = Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    m.packed_size = length;
    REQUIRE(error(m) != "no error");
  }
  // What the sizes allow may be unpacked, and takes the memory that it says.
  const Bytes zeros = npy(fields("|i1", "(1000000,)"), 1'000'000);
  CHECK(deflated_member("a.npy", zeros).packed.size() < 2000);
  CHECK(error(deflated_member("a.npy", zeros)) == "no error");
  m = deflated_member("a.npy", npy(fields("|i1", "(10000000,)"), 1'000'000));
  m.size += 9'000'000;
  CHECK(error(m) == "at byte 1097: member \"a.npy\": 1062 bytes cannot be 10000075 bytes of data");
}

TEST_CASE("npz: what cannot be written") {
  const Files directory;
  const auto path = directory.path() / "f";
  CHECK(value_error([&] { kt::save_npz(path, {{"", kt::Array()}}); }) ==
        "save_npz: the name \"\" is empty, too long or not UTF-8");
  CHECK(value_error([&] { kt::save_npz(path, {{"\xff", kt::Array()}}); }) ==
        "save_npz: the name \"?\" is empty, too long or not UTF-8");
  CHECK(value_error([&] { kt::save_npz(path, {{std::string(65532, 'x'), kt::Array()}}); }) ==
        "save_npz: the name \"" + std::string(80, 'x') + "...\" is empty, too long or not UTF-8");
  kt::save_npz(path, {{std::string(65531, 'x'), kt::Array()}});
  CHECK(kt::load_npz(path).size() == 1);
}
