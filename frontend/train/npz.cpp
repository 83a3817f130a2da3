// Archives of arrays: a ZIP archive whose members are .npy files. The directory at its end says
// where the members are; what stands in front of each is only checked against it.
#include <kroton/error.h>
#include <kroton/npy.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>
#include <optional>
#include <string_view>
#include <vector>

#include "frontend/train/files.h"
#include "frontend/train/npy_stream.h"
#include "frontend/train/stored.h"

namespace kroton {

namespace files {
namespace {

constexpr std::uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50,
                        end_signature = 0x06054b50, end64_signature = 0x06064b50,
                        locator64_signature = 0x07064b50;
constexpr std::uint64_t local_size = 30, central_size = 46, end_size = 22, end64_size = 56,
                        locator64_size = 20;
constexpr std::uint64_t longest_comment = 0xffff;
constexpr std::uint64_t in_extra_32 = 0xffffffff, in_extra_16 = 0xffff;
constexpr unsigned extra_64 = 1;  // the extra field with numbers of 64 bits
constexpr unsigned flag_encrypted = 1, flag_utf8 = 1U << 11;
constexpr unsigned stored_method = 0, deflate_method = 8;
constexpr std::string_view suffix = ".npy";
// Deflate turns at most 1032 bytes into one; the empty stream has 2.
constexpr std::uint64_t most_deflated = 1032;

std::uint64_t number(std::span<const std::byte> bytes, std::size_t at, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t k = 0; k < count; ++k) {
    value |= std::to_integer<std::uint64_t>(bytes[at + k]) << 8 * k;
  }
  return value;
}

void append(std::string& to, std::uint64_t value, std::size_t count) {
  for (std::size_t k = 0; k < count; ++k) to += static_cast<char>(value >> 8 * k & 0xff);
}

struct Member {
  std::string name;
  unsigned method = 0;
  std::uint32_t checksum = 0;
  std::uint64_t packed_size = 0, size = 0;
  std::uint64_t offset = 0;  // of what stands in front of it
  std::uint64_t begin = 0;   // of its data
};

class Archive {
 public:
  explicit Archive(const std::filesystem::path& path) : file_(path) { read_directory(); }
  const InputFile& file() const { return file_; }
  const std::vector<Member>& members() const { return members_; }

 private:
  std::vector<std::byte> read(std::uint64_t offset, std::uint64_t count, const std::string& what) {
    if (offset > file_.size() || count > file_.size() - offset) {
      file_.fail(std::min(offset, file_.size()), "the file ends in the " + what);
    }
    std::vector<std::byte> bytes(count);
    file_.read(offset, bytes, what);
    return bytes;
  }

  void read_directory() {
    const std::uint64_t tail_size = std::min(file_.size(), end_size + longest_comment);
    const std::uint64_t tail_begin = file_.size() - tail_size;
    const std::vector<std::byte> tail = read(tail_begin, tail_size, "end of the archive");
    std::uint64_t at = tail_size;
    for (std::uint64_t k = tail_size >= end_size ? tail_size - end_size + 1 : 0; k-- > 0;) {
      // The comment reaches to the end of the file.
      if (number(tail, k, 4) == end_signature &&
          number(tail, k + 20, 2) == tail_size - k - end_size) {
        at = k;
        break;
      }
    }
    if (at == tail_size) file_.fail(tail_begin, "there is no end of a ZIP archive from here on");
    const std::uint64_t end = tail_begin + at;
    std::uint64_t parts = number(tail, at + 4, 2) + number(tail, at + 6, 2);
    std::uint64_t count = number(tail, at + 10, 2), bytes = number(tail, at + 12, 4),
                  begin = number(tail, at + 16, 4), directory_end = end;
    if (count == in_extra_16 || bytes == in_extra_32 || begin == in_extra_32) {
      if (end < locator64_size) file_.fail(end, "the ZIP64 end of the archive is missing");
      const auto locator = read(end - locator64_size, locator64_size, "ZIP64 locator");
      if (number(locator, 0, 4) == locator64_signature) {
        directory_end = number(locator, 8, 8);
        const auto end64 = read(directory_end, end64_size, "ZIP64 end of the archive");
        if (number(end64, 0, 4) != end64_signature) {
          file_.fail(directory_end, "not the ZIP64 end of an archive");
        }
        parts = number(end64, 16, 4) + number(end64, 20, 4);
        count = number(end64, 32, 8);
        bytes = number(end64, 40, 8);
        begin = number(end64, 48, 8);
      }
    }
    if (parts != 0) file_.fail(end, "an archive in several parts");
    if (begin > directory_end || bytes != directory_end - begin) {
      file_.fail(end, "the directory, " + std::to_string(bytes) + " bytes from byte " +
                          std::to_string(begin) + " on, does not end at byte " +
                          std::to_string(directory_end));
    }
    if (count > bytes / central_size) {
      file_.fail(end, std::to_string(count) + " members in a directory of " +
                          std::to_string(bytes) + " bytes");
    }
    const std::vector<std::byte> directory = read(begin, bytes, "directory");
    std::size_t position = 0;
    for (std::uint64_t k = 0; k < count; ++k) position = read_entry(directory, position, begin);
    if (position != bytes) file_.fail(begin + position, "the directory has more than its members");
    find_data(begin);
  }

  // Returns where the next one begins.
  std::size_t read_entry(std::span<const std::byte> directory, std::size_t at,
                         std::uint64_t begin) {
    const std::uint64_t place = begin + at;
    if (directory.size() - at < central_size || number(directory, at, 4) != central_signature) {
      file_.fail(place, "not an entry of the archive's directory");
    }
    const auto field = [&](std::size_t offset, std::size_t count) {
      return number(directory, at + offset, count);
    };
    const std::uint64_t name_size = field(28, 2), extra_size = field(30, 2),
                        comment_size = field(32, 2);
    if (directory.size() - at - central_size < name_size + extra_size + comment_size) {
      file_.fail(place, "an entry that reaches beyond the archive's directory");
    }
    Member member;
    const auto* text = reinterpret_cast<const char*>(directory.data() + at + central_size);
    member.name.assign(text, name_size);
    const std::string owner = "member " + shown(member.name) + ": ";
    if ((field(8, 2) & flag_encrypted) != 0) file_.fail(place, owner + "encrypted");
    member.method = static_cast<unsigned>(field(10, 2));
    if (member.method != stored_method && member.method != deflate_method) {
      file_.fail(place, owner + "compressed by method " + std::to_string(member.method) +
                            "; stored (0) and deflated (8) can be read");
    }
    member.checksum = static_cast<std::uint32_t>(field(16, 4));
    member.packed_size = field(20, 4);
    member.size = field(24, 4);
    member.offset = field(42, 4);
    if (field(34, 2) != 0 && field(34, 2) != in_extra_16) {
      file_.fail(place, owner + "in another part of the archive");
    }
    read_wide(directory.subspan(at + central_size + name_size, extra_size), member, place);
    if (!member.name.ends_with(suffix)) file_.fail(place, owner + "not a .npy file");
    const bool is_possible = member.method == stored_method
                                 ? member.size == member.packed_size
                                 : member.size / most_deflated <= member.packed_size;
    if (!is_possible) {
      file_.fail(place, owner + std::to_string(member.packed_size) + " bytes cannot be " +
                            std::to_string(member.size) + " bytes of data");
    }
    members_.push_back(std::move(member));
    return at + central_size + name_size + extra_size + comment_size;
  }

  // The numbers for which 32 bits are too few stand in an extra field, in this order.
  void read_wide(std::span<const std::byte> extra, Member& member, std::uint64_t place) {
    std::size_t at = 0;
    while (extra.size() - at >= 4) {
      const std::uint64_t size = number(extra, at + 2, 2);
      const bool is_wide = number(extra, at, 2) == extra_64;
      at += 4;
      if (extra.size() - at < size) break;
      if (is_wide) {
        std::span<const std::byte> rest = extra.subspan(at, size);
        for (std::uint64_t* value : {&member.size, &member.packed_size, &member.offset}) {
          if (*value != in_extra_32) continue;
          if (rest.size() < 8) {
            file_.fail(place, "member " + shown(member.name) + ": its ZIP64 field is too short");
          }
          *value = number(rest, 0, 8);
          rest = rest.subspan(8);
        }
        return;
      }
      at += size;
    }
  }

  // Members follow each other, and none lies in another: what unpacks to many times its size cannot
  // do so many times.
  void find_data(std::uint64_t directory_begin) {
    std::vector<Member*> order;
    for (Member& member : members_) order.push_back(&member);
    std::ranges::sort(order, {}, &Member::offset);
    std::uint64_t end = 0;
    for (Member* member : order) {
      const std::string owner = "member " + shown(member->name);
      if (member->offset < end) {
        file_.fail(member->offset, owner + " begins in another one");
      }
      const auto local = read(member->offset, local_size, "header of " + owner);
      if (number(local, 0, 4) != local_signature) {
        file_.fail(member->offset, owner + ": its header is not there");
      }
      const std::uint64_t name_size = number(local, 26, 2), extra_size = number(local, 28, 2);
      const auto name = read(member->offset + local_size, name_size, "name of " + owner);
      if (!std::ranges::equal(name, std::as_bytes(std::span(member->name)))) {
        file_.fail(member->offset + local_size, owner + ": it has another name here");
      }
      if (number(local, 8, 2) != member->method) {
        file_.fail(member->offset + 8, owner + ": it has another compression here");
      }
      member->begin = member->offset + local_size + name_size + extra_size;
      if (member->begin > directory_begin ||
          member->packed_size > directory_begin - member->begin) {
        file_.fail(member->offset, owner + ": its " + std::to_string(member->packed_size) +
                                       " bytes reach into the archive's directory");
      }
      end = member->begin + member->packed_size;
    }
  }

  InputFile file_;
  std::vector<Member> members_;
};

// The unpacked bytes of a member.
class MemberStream : public ByteStream {
 public:
  MemberStream(const InputFile& file, const Member& member) : file_(file), member_(member) {
    // Without a header of zlib's.
    if (member.method == deflate_method && inflateInit2(&zlib_, -MAX_WBITS) != Z_OK) {
      throw std::bad_alloc();
    }
  }
  ~MemberStream() override {
    if (member_.method == deflate_method) inflateEnd(&zlib_);
  }
  MemberStream(const MemberStream&) = delete;
  MemberStream& operator=(const MemberStream&) = delete;

  std::uint64_t size() const override { return member_.size; }

  std::string place(std::uint64_t offset) const override {
    return file_.path().string() + ": member " + shown(member_.name) + ": at byte " +
           std::to_string(offset) + " of its data";
  }

  void read(std::span<std::byte> bytes, const std::string& what) override {
    if (bytes.size() > member_.size - at_) {
      fail(member_.size, "the data ends in the " + what);
    }
    // zlib counts in 32 bits.
    constexpr std::size_t most = std::size_t{1} << 30;
    while (!bytes.empty()) {
      const std::span<std::byte> part = bytes.first(std::min(bytes.size(), most));
      if (member_.method == stored_method) {
        file_.read(member_.begin + at_, part, what);
        packed_at_ += part.size();
      } else if (inflate_into(part) != part.size()) {
        fail(at_, "the compressed data ends in the " + what);
      }
      checksum_ = static_cast<std::uint32_t>(::crc32(
          checksum_, reinterpret_cast<const Bytef*>(part.data()), static_cast<uInt>(part.size())));
      at_ += part.size();
      bytes = bytes.subspan(part.size());
    }
  }

  // After the last byte.
  void finish() {
    if (member_.method == deflate_method) {
      std::byte extra{};
      if (inflate_into({&extra, 1}) != 0) fail(at_, "the compressed data goes on");
      if (!has_ended_ || zlib_.avail_in != 0 || packed_at_ != member_.packed_size) {
        fail(at_, "the compressed data does not end here");
      }
    }
    if (checksum_ != member_.checksum) fail(0, "wrong checksum (CRC-32)");
  }

 private:
  // Returns how many bytes there are, fewer only at the end of the compressed data.
  std::size_t inflate_into(std::span<std::byte> bytes) {
    zlib_.next_out = reinterpret_cast<Bytef*>(bytes.data());
    zlib_.avail_out = static_cast<uInt>(bytes.size());
    while (zlib_.avail_out != 0 && !has_ended_) {
      if (zlib_.avail_in == 0) {
        const std::uint64_t left = member_.packed_size - packed_at_;
        const std::span<std::byte> part =
            std::span(packed_).first(std::min<std::uint64_t>(left, packed_.size()));
        file_.read(member_.begin + packed_at_, part, "member " + shown(member_.name));
        packed_at_ += part.size();
        zlib_.next_in = reinterpret_cast<Bytef*>(packed_.data());
        zlib_.avail_in = static_cast<uInt>(part.size());
      }
      const int result = inflate(&zlib_, Z_NO_FLUSH);
      has_ended_ = result == Z_STREAM_END;
      // Nothing to go on with: the compressed data has been cut.
      if (result == Z_BUF_ERROR) break;
      if (result == Z_MEM_ERROR) throw std::bad_alloc();
      if (result != Z_OK && !has_ended_) {
        fail(at_, std::string("cannot be decompressed from here: ") +
                      (zlib_.msg == nullptr ? "not deflate's format" : zlib_.msg));
      }
    }
    return bytes.size() - zlib_.avail_out;
  }

  const InputFile& file_;
  const Member& member_;
  z_stream zlib_{};
  std::array<std::byte, 1 << 14> packed_{};
  std::uint64_t at_ = 0, packed_at_ = 0;
  std::uint32_t checksum_ = 0;
  bool has_ended_ = false;
};

// Deflates pieces into a file.
class Deflater {
 public:
  explicit Deflater(OutputFile& file) : file_(file) {
    if (deflateInit2(&zlib_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
      throw std::bad_alloc();
    }
  }
  ~Deflater() { deflateEnd(&zlib_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  void write(std::span<const std::byte> bytes, int flush) {
    zlib_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
    zlib_.avail_in = static_cast<uInt>(bytes.size());
    do {
      zlib_.next_out = reinterpret_cast<Bytef*>(packed_.data());
      zlib_.avail_out = static_cast<uInt>(packed_.size());
      deflate(&zlib_, flush);
      file_.write(std::span(packed_).first(packed_.size() - zlib_.avail_out));
    } while (zlib_.avail_out == 0);
  }

 private:
  OutputFile& file_;
  z_stream zlib_{};
  std::array<std::byte, 1 << 14> packed_{};
};

// What an entry of the directory and the header of a member have in common, up to the lengths of
// the name and the extra field. The time is always the first of 1980.
void append_common(std::string& to, const Member& member, bool is_wide) {
  append(to, is_wide ? 45 : 20, 2);  // the version that is needed: 4.5 has numbers of 64 bits
  append(to, flag_utf8, 2);
  append(to, member.method, 2);
  append(to, 0, 2);
  append(to, 1 << 5 | 1, 2);
  append(to, member.checksum, 4);
  append(to, is_wide ? in_extra_32 : member.packed_size, 4);
  append(to, is_wide ? in_extra_32 : member.size, 4);
  append(to, member.name.size(), 2);
}

// Always with sizes of 64 bits: they are not known before the data is written.
std::string local_header(const Member& member) {
  std::string header;
  append(header, local_signature, 4);
  append_common(header, member, true);
  append(header, 20, 2);
  header += member.name;
  append(header, extra_64, 2);
  append(header, 16, 2);
  append(header, member.size, 8);
  append(header, member.packed_size, 8);
  return header;
}

std::string directory_entry(const Member& member) {
  const bool is_wide = std::max({member.size, member.packed_size, member.offset}) >= in_extra_32;
  std::string entry;
  append(entry, central_signature, 4);
  append(entry, 3 << 8 | 45, 2);  // the version that wrote it, under Unix
  append_common(entry, member, is_wide);
  append(entry, is_wide ? 28 : 0, 2);
  append(entry, 0, 2);  // of the comment
  append(entry, 0, 2);  // the part of the archive
  append(entry, 0, 2);
  append(entry, 0100644ULL << 16, 4);  // a file that all may read
  append(entry, is_wide ? in_extra_32 : member.offset, 4);
  entry += member.name;
  if (is_wide) {
    append(entry, extra_64, 2);
    append(entry, 24, 2);
    append(entry, member.size, 8);
    append(entry, member.packed_size, 8);
    append(entry, member.offset, 8);
  }
  return entry;
}

std::string archive_end(std::uint64_t count, std::uint64_t begin, std::uint64_t bytes) {
  std::string end;
  if (count >= in_extra_16 || begin >= in_extra_32 || bytes >= in_extra_32) {
    append(end, end64_signature, 4);
    append(end, end64_size - 12, 8);  // what follows
    append(end, 45, 2);
    append(end, 45, 2);
    append(end, 0, 8);
    append(end, count, 8);
    append(end, count, 8);
    append(end, bytes, 8);
    append(end, begin, 8);
    append(end, locator64_signature, 4);
    append(end, 0, 4);
    append(end, begin + bytes, 8);
    append(end, 1, 4);
  }
  append(end, end_signature, 4);
  append(end, 0, 4);
  append(end, std::min(count, in_extra_16), 2);
  append(end, std::min(count, in_extra_16), 2);
  append(end, std::min(bytes, in_extra_32), 4);
  append(end, std::min(begin, in_extra_32), 4);
  append(end, 0, 2);
  return end;
}

void write_member(OutputFile& file, Member& member, const Array& array) {
  member.offset = file.written();
  file.write(local_header(member));
  const std::uint64_t begin = file.written();
  std::optional<Deflater> deflater;
  if (member.method == deflate_method) deflater.emplace(file);
  const std::string header = npy_header(array);
  for (std::span<const std::byte> bytes : {std::as_bytes(std::span(header)), bytes_of(array)}) {
    member.size += bytes.size();
    while (!bytes.empty()) {
      const auto part = bytes.first(std::min(bytes.size(), std::size_t{1} << 20));
      member.checksum = static_cast<std::uint32_t>(
          ::crc32(member.checksum, reinterpret_cast<const Bytef*>(part.data()),
                  static_cast<uInt>(part.size())));
      if (deflater) {
        deflater->write(part, Z_NO_FLUSH);
      } else {
        file.write(part);
      }
      bytes = bytes.subspan(part.size());
    }
  }
  if (deflater) deflater->write({}, Z_FINISH);
  member.packed_size = file.written() - begin;
  file.overwrite(member.offset, local_header(member));
}

}  // namespace
}  // namespace files

std::map<std::string, Array> load_npz(const std::filesystem::path& path) {
  using namespace files;
  const Archive archive(path);
  std::map<std::string, Array> arrays;
  for (const Member& member : archive.members()) {
    const std::string name = member.name.substr(0, member.name.size() - suffix.size());
    if (arrays.contains(name)) {
      archive.file().fail(member.offset, "two members " + shown(member.name));
    }
    MemberStream stream(archive.file(), member);
    const Array array = read_npy(stream);
    stream.finish();
    arrays.emplace(name, array);
  }
  return arrays;
}

void save_npz(const std::filesystem::path& path, const std::map<std::string, Array>& arrays,
              bool compress) {
  using namespace files;
  for (const auto& [name, array] : arrays) {
    if (name.empty() || name.size() + suffix.size() > 0xffff ||
        valid_utf8_prefix(name) != name.size()) {
      throw ValueError("save_npz: the name " + shown(name) + " is empty, too long or not UTF-8");
    }
    files::require_on_host(array, "save_npz: " + name);
  }
  OutputFile file(path);
  std::string directory;
  for (const auto& [name, array] : arrays) {
    Member member;
    member.name = name + std::string(suffix);
    member.method = compress ? deflate_method : stored_method;
    write_member(file, member, array.contiguous());
    directory += directory_entry(member);
  }
  const std::uint64_t begin = file.written();
  file.write(directory);
  file.write(archive_end(arrays.size(), begin, directory.size()));
  file.commit();
}

}  // namespace kroton
