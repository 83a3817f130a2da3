#include "frontend/data/data_file.h"

#include <kroton/error.h>

#include <algorithm>
#include <system_error>

namespace kroton::data {

DataFile::DataFile(const std::filesystem::path& path) : path_(path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    throw IoError(path.string() + ": no such file");
  }
  if (!std::filesystem::is_regular_file(path, error)) {
    throw IoError(path.string() + ": not a file");
  }
  file_size_ = static_cast<std::int64_t>(std::filesystem::file_size(path, error));
  file_.reset(gzopen(path.c_str(), "rb"));
  if (error || file_ == nullptr) {
    throw IoError(path.string() + ": cannot be opened for reading");
  }
  gzbuffer(file_.get(), 1U << 17);
  gzipped_ = gzdirect(file_.get()) == 0;
}

void DataFile::fail(std::int64_t offset, const std::string& message) const {
  throw IoError(path_.string() + ": at byte " + std::to_string(offset) +
                (gzipped_ ? " of the decompressed data: " : ": ") + message);
}

void DataFile::read(std::span<std::uint8_t> bytes, const std::string& what) {
  const std::int64_t end = offset_ + static_cast<std::int64_t>(bytes.size());
  if (read_up_to(bytes) != bytes.size()) {
    fail(offset_, "the data ends in the " + what + ": expected " + std::to_string(end) +
                      " bytes, got " + std::to_string(offset_));
  }
}

std::size_t DataFile::read_up_to(std::span<std::uint8_t> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::size_t got = read_some(bytes.subspan(done));
    if (got == 0) break;
    done += got;
  }
  return done;
}

std::string DataFile::read_rest() {
  std::string text;
  const auto size = static_cast<std::size_t>(file_size_);
  // Of a gzipped file as much as there turns out to be.
  std::size_t room = std::max<std::size_t>(size + 1, 4096);
  for (;;) {
    const std::size_t before = text.size();
    text.resize(before + room);
    auto* bytes = reinterpret_cast<std::uint8_t*>(text.data()) + before;
    const std::size_t got = read_up_to({bytes, room});
    text.resize(before + got);
    if (got < room) break;
    room = text.size();
  }
  expect_end("the text");
  return text;
}

void DataFile::expect_end(const std::string& what) {
  std::uint8_t extra = 0;
  if (read_some({&extra, 1}) != 0) {
    fail(offset_ - 1, "more data after " + what + ": expected the file to end here");
  }
  if (broken_off_) {
    fail(offset_, "the gzip data breaks off after " + what + ", before its checksum");
  }
}

// Reads a part of `bytes`: at least one, or none at the end of the data. Reading the end is what
// makes zlib verify the checksum.
std::size_t DataFile::read_some(std::span<std::uint8_t> bytes) {
  constexpr std::size_t most = 1U << 16;  // how closely the place of damaged data is known
  const int got =
      gzread(file_.get(), bytes.data(), static_cast<unsigned>(std::min(bytes.size(), most)));
  int code = Z_OK;
  const std::string reason = gzerror(file_.get(), &code);
  if (code == Z_BUF_ERROR) {
    broken_off_ = true;
  } else if (code == Z_ERRNO) {
    fail(offset_, "the system cannot read it from here");
  } else if (got < 0) {
    const std::size_t prefix = path_.string().size() + 2;  // zlib puts "path: " before it
    fail(offset_,
         "cannot be decompressed from here: " + reason.substr(std::min(prefix, reason.size())));
  }
  if (got <= 0) {
    return 0;
  }
  offset_ += got;
  return static_cast<std::size_t>(got);
}

std::optional<std::filesystem::path> find_if_there(const std::filesystem::path& directory,
                                                   const std::vector<std::string>& names) {
  std::error_code error;
  for (const std::string& name : names) {
    for (const char* suffix : {"", ".gz"}) {
      std::filesystem::path path = directory / (name + suffix);
      if (std::filesystem::exists(path, error)) return path;
    }
  }
  return {};
}

std::filesystem::path find_file(const std::filesystem::path& directory,
                                const std::vector<std::string>& names, const std::string& why) {
  if (const auto path = find_if_there(directory, names)) return *path;
  std::string looked_for;
  for (const std::string& name : names) {
    looked_for += (looked_for.empty() ? "" : ", ") + name + ", " + name + ".gz";
  }
  throw IoError(directory.string() + ": none of these files is there: " + looked_for + why);
}

void check_labels(const DataFile& file, std::span<const std::uint8_t> labels,
                  const LabelPlaces& places) {
  const auto bad =
      std::ranges::find_if(labels, [&](std::uint8_t label) { return label > places.largest; });
  if (bad == labels.end()) return;
  const std::int64_t example = bad - labels.begin();
  file.fail(places.start + example * places.stride,
            std::string(places.name) + " of example " + std::to_string(example) +
                ": expected 0 to " + std::to_string(places.largest) + ", got " +
                std::to_string(*bad));
}

}  // namespace kroton::data
