#include "frontend/train/svg.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "frontend/train/files.h"

namespace kroton::plot {

std::string escaped(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t good = files::valid_utf8_prefix(text);
    for (const char c : text.substr(0, good)) {
      switch (c) {
        case '&':
          result += "&amp;";
          break;
        case '<':
          result += "&lt;";
          break;
        case '>':
          result += "&gt;";
          break;
        case '"':
          result += "&quot;";
          break;
        default:
          // XML has no other control characters, and these are no text.
          result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
      }
    }
    if (good < text.size()) result += '?';
    text.remove_prefix(std::min(good + 1, text.size()));
  }
  return result;
}

double width_of(std::string_view text, double size) {
  double width = 0;
  for (const char c : text) {
    // The later bytes of a character.
    if ((static_cast<unsigned char>(c) & 0xc0) == 0x80) continue;
    if (std::string_view("iljI|.,:;'! ").find(c) != std::string_view::npos) {
      width += 0.28;
    } else if (std::string_view("ftr()[]-/").find(c) != std::string_view::npos) {
      width += 0.34;
    } else if (std::string_view("mwMW%@").find(c) != std::string_view::npos) {
      width += 0.85;
    } else {
      width += c >= 'A' && c <= 'Z' ? 0.68 : 0.556;
    }
  }
  return width * size;
}

std::string fitted(std::string_view text, double size, double width) {
  if (width_of(text, size) <= width) return std::string(text);
  std::string cut(text);
  while (!cut.empty() && width_of(cut, size) + size > width) {
    // A whole character.
    while (!cut.empty() && (static_cast<unsigned char>(cut.back()) & 0xc0) == 0x80) cut.pop_back();
    if (!cut.empty()) cut.pop_back();
  }
  return cut + "…";
}

std::string number(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.2f", value);
  std::string result = text;
  while (result.back() == '0') result.pop_back();
  if (result.back() == '.') result.pop_back();
  return result == "-0" ? "0" : result;
}

std::string text(double x, double y, std::string_view content, double size, Anchor anchor,
                 const char* color, bool bold, double turned) {
  if (content.empty()) return "";
  static constexpr const char* anchors[] = {"start", "middle", "end"};
  std::string result = "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" font-size=\"" +
                       number(size) + "\" fill=\"" + color + '"';
  if (anchor != Anchor::start) {
    result += std::string(" text-anchor=\"") + anchors[static_cast<std::size_t>(anchor)] + '"';
  }
  if (bold) result += " font-weight=\"bold\"";
  if (turned != 0) {
    result += " transform=\"rotate(" + number(turned) + ' ' + number(x) + ' ' + number(y) + ")\"";
  }
  return result + '>' + escaped(content) + "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, std::string_view color, double width) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) +
         "\" y2=\"" + number(y2) + "\" stroke=\"" + escaped(color) + "\" stroke-width=\"" +
         number(width) + "\"/>\n";
}

std::string rectangle(double x, double y, double width, double height, std::string_view fill) {
  return "<rect x=\"" + number(x) + "\" y=\"" + number(y) + "\" width=\"" + number(width) +
         "\" height=\"" + number(height) + "\" fill=\"" + escaped(fill) + "\"/>\n";
}

std::string document(double width, double height, const std::string& content) {
  const std::string w = number(width), h = number(height);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + w + "\" height=\"" + h +
         "\" viewBox=\"0 0 " + w + ' ' + h +
         "\" font-family=\"Helvetica, Arial, 'Liberation Sans', sans-serif\">\n" +
         rectangle(0, 0, width, height, "#ffffff") + content + "</svg>\n";
}

}  // namespace kroton::plot
