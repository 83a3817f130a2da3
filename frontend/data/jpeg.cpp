// JPEG through libjpeg. Its errors leave by longjmp, which runs no destructors: what is called
// under setjmp has only trivial locals, and all else is owned by the reader.
#include <kroton/error.h>

#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>

// It needs <cstdio> before it; and jerror.h needs it.
#include <jpeglib.h>

#include <jerror.h>

#include "frontend/data/picture_parts.h"

namespace kroton::data {

namespace {

// Each scan of a progressive picture goes over all of it, and takes a few bytes only. Usual are
// ten.
constexpr int most_scans = 500;
// A block of 8 x 8 pixels takes at least one bit.
constexpr std::int64_t pixels_per_byte = 512;

// Data are missing or wrong, which libjpeg only warns of: it goes on with grey.
bool is_damage(int code) {
  switch (code) {
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_BOGUS_PROGRESSION:
      return true;
    default:
      return false;
  }
}

class JpegReader {
 public:
  JpegReader(std::span<const std::uint8_t> bytes, const std::string& name) : name_(name) {
    info_.err = jpeg_std_error(&errors_);
    info_.client_data = this;
    errors_.error_exit = [](j_common_ptr info) { of(info).leave(); };
    errors_.emit_message = [](j_common_ptr info, int level) {
      if (level < 0 && is_damage(info->err->msg_code)) of(info).leave();
    };
    errors_.output_message = [](j_common_ptr) {};
    source_.next_input_byte = bytes.data();
    source_.bytes_in_buffer = bytes.size();
    source_.init_source = [](j_decompress_ptr) {};
    source_.term_source = [](j_decompress_ptr) {};
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.fill_input_buffer = [](j_decompress_ptr info) -> ::boolean {
      of(info).end_data();
      return TRUE;
    };
    source_.skip_input_data = [](j_decompress_ptr info, long count) {
      jpeg_source_mgr& source = *info->src;
      if (count <= 0) return;
      if (static_cast<unsigned long>(count) > source.bytes_in_buffer) {
        of(info).end_data();
        return;
      }
      source.next_input_byte += count;
      source.bytes_in_buffer -= static_cast<std::size_t>(count);
    };
    progress_.progress_monitor = [](j_common_ptr info) {
      JpegReader& reader = of(info);
      if (reader.has_too_many_scans()) std::longjmp(reader.jump_, 1);
    };
    guarded([this] {
      jpeg_create_decompress(&info_);
      info_.src = &source_;
      info_.progress = &progress_;
      jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xffff);
      jpeg_read_header(&info_, TRUE);
    });
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  const jpeg_decompress_struct& info() const { return info_; }

  // The orientation that the first Exif marker tells.
  int orientation() const {
    constexpr std::size_t head = 6;
    for (const auto* marker = info_.marker_list; marker != nullptr; marker = marker->next) {
      if (marker->marker == JPEG_APP0 + 1 && marker->data_length >= head &&
          std::memcmp(marker->data, "Exif\0", head) == 0) {
        return exif_orientation({marker->data + head, marker->data_length - head});
      }
    }
    return 1;
  }

  // At one part in `parts` of its size.
  void start(J_COLOR_SPACE space, unsigned parts) {
    info_.out_color_space = space;
    info_.scale_num = 1;
    info_.scale_denom = parts;
    // Of a picture in several scans this reads all of them.
    guarded([this] { jpeg_start_decompress(&info_); });
    if (jpeg_has_multiple_scans(&info_) != 0 && has_ended_) {
      fail("the file ends early: no end marker after the last scan");
    }
  }

  // The next rows.
  void read(std::uint8_t* to, std::size_t row_bytes, std::int64_t rows) {
    guarded([this, to, row_bytes, rows] {
      JSAMPROW row = to;
      for (std::int64_t k = 0; k < rows; ++k, row += row_bytes) {
        jpeg_read_scanlines(&info_, &row, 1);
      }
    });
  }

  [[noreturn]] void fail(const std::string& what) const { fail_reading(name_, what); }

 private:
  template <class Info>
  static JpegReader& of(Info* info) {
    return *static_cast<JpegReader*>(info->client_data);
  }

  template <class Calls>
  void guarded(Calls calls) {
    if (setjmp(jump_) == 0) {
      calls();
      return;
    }
    std::string what =
        (has_ended_ ? "the file ends early: " : "libjpeg says: ") + std::string(message_.data());
    if (has_too_many_scans()) what = "more than " + std::to_string(most_scans) + " scans";
    // A constructor that throws leaves no object to destroy.
    jpeg_destroy_decompress(&info_);
    fail(what);
  }

  bool has_too_many_scans() const { return info_.input_scan_number > most_scans; }

  [[noreturn]] void leave() {
    errors_.format_message(reinterpret_cast<j_common_ptr>(&info_), message_.data());
    std::longjmp(jump_, 1);
  }

  // After the last byte an end marker is read, again and again. Whether something is missing shows
  // in what is decoded.
  void end_data() {
    static constexpr std::array<JOCTET, 2> end{0xff, JPEG_EOI};
    has_ended_ = true;
    source_.next_input_byte = end.data();
    source_.bytes_in_buffer = end.size();
  }

  const std::string& name_;
  jpeg_decompress_struct info_{};
  jpeg_error_mgr errors_{};
  jpeg_source_mgr source_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf jump_{};
  std::array<char, JMSG_LENGTH_MAX> message_{};
  bool has_ended_ = false;
};

// What libjpeg is to make of a picture of this space; the rest is done here.
J_COLOR_SPACE decoded_space(const JpegReader& reader, std::int64_t channels) {
  switch (reader.info().jpeg_color_space) {
    case JCS_GRAYSCALE:
      return JCS_GRAYSCALE;
    case JCS_YCbCr:
      return channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    case JCS_RGB:
      return JCS_RGB;
    case JCS_CMYK:
    case JCS_YCCK:
      return JCS_CMYK;
    default:
      reader.fail("a JPEG of " + std::to_string(reader.info().num_components) +
                  " components, of which the colours are not known");
  }
}

// The smallest size that there must be at least: one part in how many.
unsigned reduction(std::int64_t rows, std::int64_t cols, const PictureOptions& options,
                   bool is_on_its_side) {
  if (options.least_rows == 0 && options.least_cols == 0) return 1;
  if (is_on_its_side) std::swap(rows, cols);
  unsigned parts = 8;
  const auto part = [&](std::int64_t size) { return (size + parts - 1) / parts; };
  while (part(rows) < options.least_rows || part(cols) < options.least_cols) {
    if (parts == 1) break;
    parts /= 2;
  }
  return parts;
}

// a * b / 255, rounded.
unsigned product(unsigned a, unsigned b) {
  const unsigned c = a * b + 128;
  return ((c >> 8) + c) >> 8;
}

// Cyan, magenta, yellow and black to red, green and blue, without a colour profile.
Picture from_cmyk(const Picture& inks, bool is_inverted) {
  Picture colours{{}, inks.rows, inks.cols, 3};
  colours.pixels.resize(inks.pixels.size() / 4 * 3);
  const unsigned flip = is_inverted ? 255 : 0;
  std::uint8_t* to = colours.pixels.data();
  for (std::size_t k = 0; k < inks.pixels.size(); k += 4) {
    const unsigned light = 255 - (inks.pixels[k + 3] ^ flip);
    for (std::size_t c = 0; c < 3; ++c) {
      *to++ = static_cast<std::uint8_t>(light - product(inks.pixels[k + c] ^ flip, light));
    }
  }
  return colours;
}

}  // namespace

Picture decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name,
                    const PictureOptions& options, int& orientation) {
  JpegReader reader(bytes, name);
  const std::int64_t rows = reader.info().image_height, cols = reader.info().image_width;
  check_size(name, rows, cols, options);
  const auto size = static_cast<std::int64_t>(bytes.size());
  if (rows * cols / pixels_per_byte > size) {
    reader.fail("the header says " + size_of_picture(rows, cols) + ", more than " +
                std::to_string(size) + " bytes can hold");
  }
  orientation = reader.orientation();
  reader.start(decoded_space(reader, options.channels),
               reduction(rows, cols, options, is_on_its_side(orientation)));
  const jpeg_decompress_struct& info = reader.info();
  Picture picture{{}, info.output_height, info.output_width, info.output_components};
  read_rows(picture, [&reader](std::uint8_t* to, std::size_t row_bytes, std::int64_t count) {
    reader.read(to, row_bytes, count);
  });
  if (picture.channels != 4) return picture;
  return from_cmyk(picture, reader.info().saw_Adobe_marker != 0);
}

}  // namespace kroton::data
