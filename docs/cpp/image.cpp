// Images from files, and the resizing of OpenCV's INTER_LINEAR and INTER_CUBIC: pixel centres at one half, edges repeated,
// no smoothing when an image is made smaller.
#include "detector.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#ifdef WITH_JPEG
#include <jpeglib.h>
#endif
#ifdef WITH_PNG
#include <png.h>
#endif

namespace {

Image read_ppm(const std::string& name) {
    std::ifstream file(name, std::ios::binary);
    std::string magic;
    Image image;
    int largest = 0;
    file >> magic >> image.width >> image.height >> largest;
    if (magic != "P6" || largest != 255 || image.width < 1 || image.height < 1)
        throw std::runtime_error(name + " is no PPM file of 8 bits");
    file.get();
    image.pixels.resize(size_t(3) * image.width * image.height);
    if (!file.read(reinterpret_cast<char*>(image.pixels.data()), std::streamsize(image.pixels.size())))
        throw std::runtime_error(name + " ends in the middle");
    return image;
}

#ifdef WITH_PNG
Image read_png(const std::string& name) {
    png_image reader{};
    reader.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_file(&reader, name.c_str())) throw std::runtime_error(name + ": " + reader.message);
    reader.format = PNG_FORMAT_RGB;
    Image image{int(reader.height), int(reader.width), std::vector<uint8_t>(PNG_IMAGE_SIZE(reader))};
    if (!png_image_finish_read(&reader, nullptr, image.pixels.data(), 0, nullptr))
        throw std::runtime_error(name + ": " + reader.message);
    return image;
}
#endif

#ifdef WITH_JPEG
Image read_jpeg(const std::string& name) {
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(name.c_str(), "rb"), std::fclose);
    if (!file) throw std::runtime_error(name + " cannot be read");
    jpeg_decompress_struct reader{};
    jpeg_error_mgr errors{};
    reader.err = jpeg_std_error(&errors);
    errors.error_exit = [](j_common_ptr common) {
        char text[JMSG_LENGTH_MAX];
        common->err->format_message(common, text);
        std::fprintf(stderr, "error: a JPEG file cannot be read: %s\n", text);
        std::exit(2);  // libjpeg is C: no exception may pass through it
    };
    jpeg_create_decompress(&reader);
    jpeg_stdio_src(&reader, file.get());
    jpeg_read_header(&reader, TRUE);
    reader.out_color_space = JCS_RGB;
    jpeg_start_decompress(&reader);
    Image image{int(reader.output_height), int(reader.output_width), {}};
    image.pixels.resize(size_t(3) * image.width * image.height);
    while (reader.output_scanline < reader.output_height) {
        JSAMPROW row = image.pixels.data() + size_t(3) * image.width * reader.output_scanline;
        jpeg_read_scanlines(&reader, &row, 1);
    }
    jpeg_finish_decompress(&reader);
    jpeg_destroy_decompress(&reader);
    return image;
}
#endif

// For each place of the output: the first of the `taps` places of the input that it is made of, and their weights.
struct Weights {
    std::vector<int> first;
    std::vector<float> values;
    int taps;
};

Weights weights(int from, int to, bool cubic) {
    Weights made{{}, {}, cubic ? 4 : 2};
    constexpr float A = -0.75f;  // OpenCV's
    for (int i = 0; i < to; ++i) {
        const float at = (float(i) + 0.5f) * float(from) / float(to) - 0.5f;
        const int whole = int(std::floor(at));
        const float x = at - float(whole);
        if (!cubic) {
            made.first.push_back(whole);
            made.values.insert(made.values.end(), {1 - x, x});
            continue;
        }
        const float before = ((A * (x + 1) - 5 * A) * (x + 1) + 8 * A) * (x + 1) - 4 * A;
        const float left = ((A + 2) * x - (A + 3)) * x * x + 1;
        const float right = ((A + 2) * (1 - x) - (A + 3)) * (1 - x) * (1 - x) + 1;
        made.first.push_back(whole - 1);
        made.values.insert(made.values.end(), {before, left, right, 1 - before - left - right});
    }
    return made;
}

}  // namespace

Image read_image(const std::string& file) {
    const std::string suffix = file.substr(std::min(file.rfind('.'), file.size()));
    if (suffix == ".ppm") return read_ppm(file);
#ifdef WITH_PNG
    if (suffix == ".png") return read_png(file);
#endif
#ifdef WITH_JPEG
    if (suffix == ".jpg" || suffix == ".jpeg") return read_jpeg(file);
#endif
    throw std::runtime_error(file + ": this build does not read such files; make a PPM file of it, or build with the "
                                    "headers of libpng and libjpeg");
}

Image resize(const Image& image, int height, int width, const std::string& interpolation) {
    if (image.height == height && image.width == width) return image;
    if (interpolation != "cubic" && interpolation != "linear")
        throw std::runtime_error("this example resizes cubic and linear; the model wants " + interpolation);
    const bool cubic = interpolation == "cubic";
    const Weights across = weights(image.width, width, cubic), down = weights(image.height, height, cubic);
    std::vector<float> rows(size_t(3) * image.height * width);
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < width; ++x)
            for (int c = 0; c < 3; ++c) {
                float sum = 0;
                for (int t = 0; t < across.taps; ++t) {
                    const int at = std::clamp(across.first[x] + t, 0, image.width - 1);
                    sum += across.values[size_t(x) * across.taps + t] *
                           image.pixels[(size_t(y) * image.width + at) * 3 + c];
                }
                rows[(size_t(y) * width + x) * 3 + c] = sum;
            }
    Image made{height, width, std::vector<uint8_t>(size_t(3) * height * width)};
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < 3 * width; ++x) {
            float sum = 0;
            for (int t = 0; t < down.taps; ++t) {
                const int at = std::clamp(down.first[y] + t, 0, image.height - 1);
                sum += down.values[size_t(y) * down.taps + t] * rows[size_t(at) * 3 * width + x];
            }
            made.pixels[size_t(y) * 3 * width + x] = uint8_t(std::clamp(std::lround(sum), 0L, 255L));
        }
    return made;
}
