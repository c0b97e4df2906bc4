"""Documents of the formats that are read, made from a text: as small as they can be."""

import io
import zipfile

_WORD = '<w:document xmlns:w="w"><w:body>{}</w:body></w:document>'


def zipped(**members: str) -> bytes:
    """Give a zip of XML files; in their names, `__` stands for a slash."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/") + ".xml", content)
    return file.getvalue()


def docx(*paragraphs: str) -> bytes:
    body = "".join(f"<w:p><w:r><w:t>{one}</w:t></w:r></w:p>" for one in paragraphs)
    return zipped(
        word__document=_WORD.format(body),
        word__header1=_WORD.format("<w:p><w:t>Letterhead</w:t></w:p>"),
        docProps__app="<x/>",
    )


def xlsx(text: str, number: str) -> bytes:
    return zipped(
        xl__sharedStrings=f'<sst xmlns="x"><si><t>{text}</t></si><si><r><t>an</t></r><r><t>other</t></r></si></sst>',
        xl__worksheets__sheet1=f'<worksheet xmlns="x"><row><c t="s"><v>77777</v></c><c><v>{number}</v></c><c t="inlineStr"><is><t>inline</t></is></c></row></worksheet>',
    )


def pdf(text: str) -> bytes:
    """Give a page of PDF with a line of ASCII."""
    content = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", list[int]()
    for number, one in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    return (
        out
        + head
        + table
        + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(out))
    )
