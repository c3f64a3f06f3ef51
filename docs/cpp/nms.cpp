// Non-maximum suppression per class, as Paddle's multiclass_nms3 has it.
#include "detector.hpp"

#include <algorithm>

namespace {

float iou(const float* a, const float* b) {
    const float width = std::min(a[2], b[2]) - std::max(a[0], b[0]);
    const float height = std::min(a[3], b[3]) - std::max(a[1], b[1]);
    const float common = std::max(width, 0.f) * std::max(height, 0.f);
    const auto area = [](const float* box) {
        return std::max(box[2] - box[0], 0.f) * std::max(box[3] - box[1], 0.f);
    };
    const float whole = area(a) + area(b) - common;
    return whole > 0 ? common / whole : 0.f;
}

bool better(const Detection& a, const Detection& b) { return a.score > b.score; }

void shorten(std::vector<Detection>& found, int most) {
    if (most >= 0 && found.size() > size_t(most)) found.resize(size_t(most));
}

}  // namespace

std::vector<Detection> nms(const float* boxes, const float* scores, size_t classes, size_t anchors, const About& about) {
    std::vector<Detection> all;
    for (size_t c = 0; c < classes; ++c) {
        std::vector<Detection> candidates, kept;
        for (size_t i = 0; i < anchors; ++i)
            if (const float score = scores[c * anchors + i]; score > about.score_threshold) {
                const float* box = boxes + 4 * i;
                candidates.push_back({int(c), score, {box[0], box[1], box[2], box[3]}});
            }
        std::stable_sort(candidates.begin(), candidates.end(), better);
        shorten(candidates, about.nms_top_k);
        for (const Detection& one : candidates)
            if (std::none_of(kept.begin(), kept.end(),
                             [&](const Detection& k) { return iou(k.box, one.box) > about.nms_threshold; }))
                kept.push_back(one);
        all.insert(all.end(), kept.begin(), kept.end());
    }
    std::stable_sort(all.begin(), all.end(), better);
    shorten(all, about.keep_top_k);
    return all;
}
