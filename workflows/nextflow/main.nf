#!/usr/bin/env nextflow
// Cuts each FASTA file into chunks, masks them in parallel, and puts the text outputs together again.
//   nextflow run workflows/nextflow/main.nf --reads 'reads/*.fasta.gz' --outdir masks

include { SEQMASK_MASK } from '../nf-core/seqmask/mask/main'

params.reads = null     // FASTA files, plain or gzip; a glob in quotes
params.outdir = 'masks'
params.model = null     // a model directory; by default the model that ships
params.by = 20000       // sequences in a chunk

process GATHER {
    tag "$meta.id"
    publishDir params.outdir, mode: 'copy'

    input:
    tuple val(meta), path(fasta), path(bed), path(tsv)

    output:
    tuple val(meta), path("${prefix}.fasta.gz"), path("${prefix}.bed.gz"), path("${prefix}.tsv")

    script:
    prefix = meta.id
    """
    cat ${fasta} > ${prefix}.fasta.gz
    cat ${bed} > ${prefix}.bed.gz
    awk 'NR == 1 || FNR > 1' ${tsv} > ${prefix}.tsv
    """
}

workflow {
    if (!params.reads) {
        error("give FASTA files with --reads")
    }

    // chunks are called NAME.1.fasta, NAME.2.fasta, ...
    chunks = channel.fromPath(params.reads, checkIfExists: true)
        .map { file -> [[sample: file.name.replaceFirst(/(?i)(\.(fa|fna|ffn|fas|fsa|fasta|fq|fastq))?(\.gz)?$/, '')], file] }
        .splitFasta(by: params.by, file: true, elem: 1)
        .map { meta, chunk ->
            def part = chunk.baseName.tokenize('.').last() as Integer
            [meta + [id: "${meta.sample}.${part}", part: part], chunk]
        }

    SEQMASK_MASK(chunks, params.model ? file(params.model, checkIfExists: true) : [])

    parts = SEQMASK_MASK.out.fasta
        .join(SEQMASK_MASK.out.bed)
        .join(SEQMASK_MASK.out.tsv)
        .map { meta, fasta, bed, tsv -> [meta.sample, [meta.part, fasta, bed, tsv]] }
        .groupTuple()
        .map { sample, found ->
            def ordered = found.sort { part -> part[0] }
            [[id: sample], ordered*.get(1), ordered*.get(2), ordered*.get(3)]
        }

    GATHER(parts)
}
